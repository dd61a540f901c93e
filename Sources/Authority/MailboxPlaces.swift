import SMTP

/// Which mailbox of the users' table lies where: no two accounts may have octets in common on disk, on any file system, or
/// one would read the other's mail.
struct MailboxPlaces {
    private struct Owner {
        let address: String
        let isMbox: Bool
    }

    /// By folded path.
    private var mailboxes: [String: Owner] = [:]
    /// An account with a mailbox below each directory.
    private var directories: [String: String] = [:]
    /// For each mbox that may come later, an account whose path has one of the names that it would need.
    private var neighbours: [String: String] = [:]

    /// What the names of the files beside an mbox go on with (docs/mailbox.md): its lock, and our own files.
    private static func isBesideMbox(_ rest: Substring) -> Bool {
        rest == ".lock" || rest.hasPrefix(".lock.") || rest == ".pop3-lock" || rest.hasPrefix(".martlet-")
    }

    /// Takes an account's mailbox in.
    ///
    /// - Returns: why it can't be used, with nothing changed; nil where nobody has to do with it.
    mutating func add(_ account: Account) -> String? {
        if let objection = objection(to: account) { return objection }
        let place = Place(account.mailbox)
        let address = account.address.description
        mailboxes[place.path] = Owner(address: address, isMbox: account.format == .mbox)
        for directory in place.above { directories[directory] = address }
        for mbox in place.mboxes { neighbours[mbox] = address }
        return nil
    }

    /// Why an account's mailbox can't be used; nil where nobody has to do with it.
    func objection(to account: Account) -> String? {
        let place = Place(account.mailbox)
        let name = account.mailbox
        if let owner = mailboxes[place.path] { return "the mailbox \"\(name)\" is that of \(owner.address)" }
        for directory in place.above {
            if let owner = mailboxes[directory] {
                return "the mailbox \"\(name)\" lies within that of \(owner.address)"
            }
        }
        if let address = directories[place.path] { return "the mailbox of \(address) lies within \"\(name)\"" }
        for mbox in place.mboxes {
            if let owner = mailboxes[mbox], owner.isMbox {
                return "the mbox of \(owner.address) needs the name \"\(name)\" for a file of its own"
            }
        }
        if account.format == .mbox, let address = neighbours[place.path] {
            return "the mbox \"\(name)\" needs a name that the mailbox of \(address) has"
        }
        return nil
    }

    /// A mailbox's path, folded.
    private struct Place {
        let path: String
        /// The directories above it.
        let above: [String]
        /// Mboxes that would have a file of this name, or of that of a directory above it, beside them.
        let mboxes: [String]

        init(_ mailbox: String) {
            let path = folded(mailbox)
            self.path = path
            above = path.indices.filter { path[$0] == "/" }.map { String(path[..<$0]) }
            mboxes = path.utf8.contains(UInt8(ascii: ".")) ? (above + [path]).flatMap(MailboxPlaces.mboxes) : []
        }
    }

    /// The mboxes that would have a file of this name beside them.
    private static func mboxes(of place: String) -> [String] {
        let name = place.lastIndex(of: "/").map { place.index(after: $0) } ?? place.startIndex
        var found: [String] = []
        for dot in place.indices[name...] where dot > name && place[dot] == "." {
            if isBesideMbox(place[dot...]) { found.append(String(place[..<dot])) }
        }
        return found
    }

    /// What a file system may take for the same name: in one case, and, as strings are compared by Swift, in one
    /// normalisation.
    private static func folded(_ path: String) -> String {
        if path.utf8.allSatisfy({ $0 < 0x80 }) {
            return String(decoding: path.utf8.map { (0x41...0x5a).contains($0) ? $0 | 0x20 : $0 }, as: UTF8.self)
        }
        return path.uppercased().lowercased()
    }
}
