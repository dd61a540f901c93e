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
    private(set) var file: OpenFile?
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

    /// Writes the file into `tmp/`. A rest that a killed process left there is written over.
    mutating func write() throws(MailboxError) {
        if delivery.mayBeKnown, try wasPlaced() {
            isKnown = true
            return
        }
        try maildir.quota.check(adding: delivery.octets)
        let file = try OpenFile("\(place)tmp/\(name)", in: maildir.root.descriptor, O_WRONLY | O_CREAT | O_TRUNC)
        self.file = file
        var reducer = LineEndReducer()
        var first = delivery.prefix
        let prefixLines = first.reduce(0) { $1 == 10 ? $0 + 1 : $0 }
        try delivery.read { piece throws(MailboxError) in
            let reduced = reducer.reduce(piece)
            // The lines in front leave in the first write.
            let octets = first.isEmpty ? reduced : first + reduced
            first = []
            try file.write(octets)
            diskOctets += octets.count
        }
        let rest = first + reducer.finish()
        if !rest.isEmpty { try file.write(rest) }
        diskOctets += rest.count
        wireOctets = diskOctets + prefixLines + reducer.lines
    }

    /// Gives the file its place. Its content must be on stable storage.
    func place(_ deferred: inout Set<String>) throws(MailboxError) {
        if isKnown { return }
        try maildir.root.rename("\(place)tmp/\(name)", to: "\(place)new/\(name),S=\(diskOctets),W=\(wireOctets)")
        maildir.quota.note(octets: diskOctets, messages: 1)
        deferred.insert("\(place)new")
    }

    /// Takes back what `write` did.
    func undo() { try? maildir.root.remove("\(place)tmp/\(name)") }

    private func wasPlaced() throws(MailboxError) -> Bool {
        for part in ["new", "cur"] {
            let names = try maildir.root.names(place + part)
            if names.contains(where: { $0.hasPrefix(name) }) { return true }
        }
        return false
    }
}
