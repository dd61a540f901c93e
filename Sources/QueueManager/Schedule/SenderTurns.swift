/// Whose turn it is among all senders, wherever their mail goes: each delivery counts as one turn of its sender, and a sender
/// who has had more of them comes later (start-time fair queueing). Who has fifty thousand messages for as many
/// destinations stands behind nobody's single one for longer than one turn.
struct SenderTurns {
    /// The turn that was taken last.
    private(set) var now = 0
    /// The last turn that was given out, of senders who are ahead of `now`, and of some who were.
    private var last = PartedDictionary<String, Int>()
    /// Turns given out since the last part of that was looked through, and which one is the next.
    private var given = 0
    private var part = 0

    /// After so many turns, or as many as the part has senders, it's looked through.
    private static let patience = 1024

    /// Of how many senders something is kept in mind.
    var remembered: Int { last.count }

    /// The turn that a sender would get.
    func next(of sender: String) -> Int { max(now, last[sender] ?? 0) + 1 }

    /// Gives a sender its next turn.
    mutating func give(_ sender: String) -> Int {
        let turn = next(of: sender)
        last[sender] = turn
        given += 1
        if given >= min(Self.patience, last[part: part].count) { forget() }
        return turn
    }

    /// Forgets senders of one part who are not ahead any more.
    private mutating func forget() {
        let now = now
        last.filter(part: part) { $1 > now }
        part = part + 1 < last.partCount ? part + 1 : 0
        given = 0
    }

    /// A turn is taken.
    mutating func take(_ turn: Int) { now = max(now, turn) }
}
