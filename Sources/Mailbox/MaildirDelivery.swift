import Files

/// A delivery into a Maildir, in steps so that a batch can share syncs: write to `tmp/`, sync, rename into `new/`, sync the
/// directory. The file name is derived from the delivery's key, so a retry finds an earlier attempt's message.
struct MaildirDelivery {
    let folder: DeliveryFolder
    /// Its index in the batch.
    let index: Int
    var location: MailboxLocation { delivery.location }
    /// Of the message, as it claims room in the mailbox.
    var octets: Int { delivery.octets }
    private let delivery: Delivery
    /// Its name in `tmp/`, unique to this attempt.
    private let temporary: String
    private(set) var file: OpenFile?
    /// Output is buffered up to this size. Octets.
    private static let bufferSize = 64 * 1024
    private(set) var diskOctets = 0
    private var wireOctets = 0

    init(_ delivery: Delivery, index: Int, _ folder: DeliveryFolder) {
        self.delivery = delivery
        self.index = index
        self.folder = folder
        temporary = folder.tmp.disk.uniqueName()
    }

    /// How its name begins.
    var beginning: String { delivery.fileNameBeginning }

    /// Whether an earlier attempt may have delivered it.
    var mayBeKnown: Bool { delivery.mayBeKnown }

    /// - Parameter pending: octets that are being added to the Maildir before this message.
    /// - Throws: `overQuota`.
    func checkQuota(pending: Int) throws(MailboxError) {
        try folder.maildir.quota.check(adding: delivery.octets + pending)
    }

    /// Writes the file in `tmp/`.
    mutating func write() throws(MailboxError) {
        let file = try folder.tmp.open(temporary, [.writing, .creating, .exclusive])
        self.file = file
        var reducer = LineEndReducer()
        let prefixLines = delivery.prefix.reduce(0) { $1 == 10 ? $0 + 1 : $0 }
        // A small message goes out in one write, with the prefix.
        var output = delivery.prefix
        try delivery.read { piece throws(MailboxError) in
            reducer.reduce(piece, into: &output)
            guard output.count >= Self.bufferSize else { return }
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

    /// Moves the file into `new/`. Its content must be on stable storage.
    func place() throws(MailboxError) {
        let host = MaildirFileName.hostName
        let name = "\(beginning)\(host),S=\(diskOctets),W=\(wireOctets)"
        try folder.tmp.rename(temporary, to: name, in: folder.new)
    }

    /// Removes the file from `tmp/`.
    func undo() {
        guard file != nil else { return }
        try? folder.tmp.remove(temporary)
    }
}
