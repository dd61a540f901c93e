#if canImport(Glibc)
import Glibc
#endif

/// A delivery into a Maildir, in steps, so that many can share one wait for the disk: write into `tmp/`, sync, rename into
/// `new/`, sync the directory. The file's name comes from the delivery's key: asked again, it finds what it did before.
struct MaildirDelivery {
    let maildir: Maildir
    private let delivery: Delivery
    /// `` for the inbox, `.folder/` for a folder.
    let place: String
    private let name: String
    /// In `tmp/`: no two attempts ever write into one file.
    private let temporary = MaildirFileName.unique()
    private(set) var file: OpenFile?
    /// Less is collected first. Octets.
    private static let worthWriting = 64 * 1024
    private var diskOctets = 0
    private var wireOctets = 0
    /// An earlier attempt had placed it.
    private(set) var isKnown = false

    init(_ delivery: Delivery, _ maildir: Maildir) {
        self.delivery = delivery
        self.maildir = maildir
        if let folder = delivery.folder, !folder.isInbox,
            (try? maildir.root.status("\(folder.directory)/new")) != nil
        {
            place = folder.directory + "/"
        } else {
            place = ""
        }
        name = "\(delivery.arrived).Q\(delivery.key).\(MaildirFileName.hostName)"
    }

    /// Writes the file into `tmp/`. What a killed process left there goes with its age.
    mutating func write() throws(MailboxError) {
        if delivery.mayBeKnown, try wasPlaced() {
            isKnown = true
            return
        }
        try maildir.quota.check(adding: delivery.octets)
        let file = try OpenFile("\(place)tmp/\(temporary)", in: maildir.root.descriptor, O_WRONLY | O_CREAT | O_EXCL)
        self.file = file
        var reducer = LineEndReducer()
        let prefixLines = delivery.prefix.reduce(0) { $1 == 10 ? $0 + 1 : $0 }
        // What fits one write leaves in one, the lines in front included.
        var output = delivery.prefix
        try delivery.read { piece throws(MailboxError) in
            reducer.reduce(piece, into: &output)
            guard output.count >= Self.worthWriting else { return }
            try file.write(output)
            diskOctets += output.count
            output.removeAll(keepingCapacity: true)
        }
        output += reducer.finish()
        if !output.isEmpty { try file.write(output) }
        diskOctets += output.count
        wireOctets = diskOctets + prefixLines + reducer.lines
    }

    /// Gives the file its place. Its content must be on stable storage.
    func place(_ deferred: inout Set<String>) throws(MailboxError) {
        if isKnown { return }
        try maildir.root.rename("\(place)tmp/\(temporary)", to: "\(place)new/\(name),S=\(diskOctets),W=\(wireOctets)")
        maildir.quota.note(octets: diskOctets, messages: 1)
        deferred.insert("\(place)new")
    }

    /// Takes back what `write` did.
    func undo() {
        guard file != nil else { return }
        try? maildir.root.remove("\(place)tmp/\(temporary)")
    }

    private func wasPlaced() throws(MailboxError) -> Bool {
        // Without the host's name, which may have changed.
        let begin = "\(delivery.arrived).Q\(delivery.key)."
        for part in ["new", "cur"] {
            let names = try maildir.root.names(place + part)
            if names.contains(where: { $0.hasPrefix(begin) }) { return true }
        }
        return false
    }
}
