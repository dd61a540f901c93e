/// What folders are for (RFC 6154), where a client has said so: a small file in the folder's own directory, which goes where
/// that goes. One use a line, such as `\Sent`.
extension Maildir {
    private static let usesFile = "martlet-special-use"

    package func specialUses(of names: [FolderName]) throws(MailboxError) -> [FolderName: [String]] {
        var uses: [FolderName: [String]] = [:]
        for name in names {
            guard let octets = try root.contents("\(name.directory)/\(Self.usesFile)", maximum: 4096) else { continue }
            let lines = octets.split(separator: UInt8(ascii: "\n")).map { String(decoding: $0, as: UTF8.self) }
            uses[name] = lines.filter { line in
                line.utf8.first == UInt8(ascii: "\\") && line.utf8.dropFirst().allSatisfy { (0x41...0x7A).contains($0) }
            }
        }
        return uses
    }

    package func setSpecialUses(_ uses: [String], of name: FolderName) throws(MailboxError) {
        try root.replace(
            "\(name.directory)/\(Self.usesFile)",
            with: uses.flatMap { Array($0.utf8) + [UInt8(ascii: "\n")] }
        )
        try root.sync(name.directory)
    }
}
