/// Whose turn it is among all senders, wherever their mail goes: each delivery counts as one turn of its sender, and a sender
/// who has had more of them comes later (start-time fair queueing). Who has fifty thousand messages for as many
/// destinations stands behind nobody's single one for longer than one turn.
struct SenderTurns {
    /// The turn that was taken last.
    private(set) var now = 0
    /// The last turn that was given out, of senders who are ahead of `now`.
    private var last: [String: Int] = [:]
    private var pruneCount = 1024

    /// The turn that a sender would get.
    func next(of sender: String) -> Int { max(now, last[sender] ?? 0) + 1 }

    /// Gives a sender its next turn.
    mutating func give(_ sender: String) -> Int {
        let turn = next(of: sender)
        last[sender] = turn
        if last.count > pruneCount {
            last = last.filter { $0.value > now }
            pruneCount = max(1024, 2 * last.count)
        }
        return turn
    }

    /// A turn is taken.
    mutating func take(_ turn: Int) { now = max(now, turn) }
}
