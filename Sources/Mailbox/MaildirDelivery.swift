import Files

/// A delivery into a Maildir, in steps, so that many can share one wait for the disk: write into `tmp/`, sync, rename into
/// `new/`, sync the directory. The file's name comes from the delivery's key: asked again, it finds what it did before.
struct MaildirDelivery {
    let folder: DeliveryFolder
    /// Which one of the batch it is.
    let index: Int
    private let delivery: Delivery
    /// In `tmp/`: no two attempts ever write into one file.
    private let temporary: String
    private(set) var file: OpenFile?
    /// Less is collected first. Octets.
    private static let worthWriting = 64 * 1024
    private(set) var diskOctets = 0
    private var wireOctets = 0

    init(_ delivery: Delivery, index: Int, _ folder: DeliveryFolder) {
        self.delivery = delivery
        self.index = index
        self.folder = folder
        temporary = folder.tmp.disk.uniqueName()
    }

    /// Whether an earlier attempt had placed it: then it's on stable storage. Looks in the inbox too, since the folder may
    /// have been made after that attempt.
    func wasPlaced() throws(MailboxError) -> Bool {
        guard delivery.mayBeKnown else { return false }
        let root = folder.maildir.root
        // Without the host's name, which may have changed.
        let begin = "\(delivery.arrived).Q\(delivery.key)."
        for place in folder.place.isEmpty ? [""] : [folder.place, ""] {
            // In this order, since sessions move files from one to the other.
            for part in ["\(place)new", "\(place)cur"] {
                guard try root.names(part).contains(where: { $0.hasPrefix(begin) }) else { continue }
                // That attempt may not have come so far, and a session may have moved the file since.
                try root.sync("\(place)new")
                try root.sync("\(place)cur")
                return true
            }
        }
        return false
    }

    /// Writes the file into `tmp/`. What a killed process left there goes with its age.
    ///
    /// - Parameter pending: octets of the same batch that are about to be added to the Maildir.
    mutating func write(pending: Int) throws(MailboxError) {
        try folder.maildir.quota.check(adding: delivery.octets + pending)
        let file = try folder.tmp.open(temporary, [.writing, .creating, .exclusive])
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

    /// Waits until the file's content is on stable storage.
    func sync() throws(MailboxError) { try file?.syncData() }

    /// Gives the file its name in `new/`. Its content must be on stable storage.
    func place() throws(MailboxError) {
        let host = MaildirFileName.hostName
        let name = "\(delivery.arrived).Q\(delivery.key).\(host),S=\(diskOctets),W=\(wireOctets)"
        try folder.tmp.rename(temporary, to: name, in: folder.new)
    }

    /// Takes back what `write` did.
    func undo() {
        guard file != nil else { return }
        try? folder.tmp.remove(temporary)
    }
}
