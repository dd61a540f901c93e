import IMAP

/// Mailboxes and what is below them (RFC 7377 §2.2, SUBTREE and SUBTREE-ONE). However many they are, a name is tested by looking
/// up those above it.
struct Subtrees: Sendable {
    private let delimiter: UInt8
    private var deep: Set<[UInt8]> = []
    private var shallow: Set<[UInt8]> = []

    init(delimiter: UInt8) { self.delimiter = delimiter }

    /// - Parameter isDeep: whether all levels below count, not one.
    mutating func add(_ roots: [MailboxName], isDeep: Bool) {
        for root in roots {
            if isDeep { deep.insert(Array(root.text.utf8)) } else { shallow.insert(Array(root.text.utf8)) }
        }
    }

    var isEmpty: Bool { deep.isEmpty && shallow.isEmpty }

    func contains(_ name: MailboxName) -> Bool {
        guard !isEmpty else { return false }
        let name = Array(name.text.utf8)
        if deep.contains(name) || shallow.contains(name) { return true }
        var isParent = true
        for end in name.indices.reversed() where name[end] == delimiter {
            let above = Array(name[..<end])
            if deep.contains(above) || isParent && shallow.contains(above) { return true }
            isParent = false
        }
        return false
    }
}
