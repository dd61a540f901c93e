import SMTP

/// `etc/certificates` as it was read: whose a client certificate is, `address:fingerprint`, where its own names don't say so or
/// somebody else shall have it. The fingerprint is that of SHA-256, in hexadecimal, with colons or without.
package struct CertificateTable: Sendable {
    private var owners: [[UInt8]: [MailAddress]] = [:]

    package init() {}

    /// - Throws: `TableError` with every line that can't be understood.
    package init(text: String, file: String) throws(TableError) {
        var faults = TableFaults(file: file)
        for (number, line) in TableLines(text) {
            if let reason = TableLines.fault(of: line) {
                faults.add(line: number, reason: reason)
                continue
            }
            let fields = line.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
            guard fields.count == 2, let address = try? MailAddress(parsing: fields[0].utf8, options: .utf8),
                let fingerprint = Self.octets(fields[1])
            else {
                faults.add(line: number, reason: "expected address:fingerprint, which is 64 hexadecimal digits")
                continue
            }
            owners[fingerprint, default: []].append(address)
        }
        try faults.check()
    }

    /// Whose the certificate is, in the order of their lines; empty where the table doesn't say.
    func owners(of fingerprint: [UInt8]) -> [MailAddress] { owners[fingerprint] ?? [] }

    private static func octets(_ text: Substring) -> [UInt8]? {
        let digits = text.utf8.filter { $0 != UInt8(ascii: ":") && $0 != UInt8(ascii: " ") }
        guard digits.count == 64 else { return nil }
        var octets: [UInt8] = []
        for index in stride(from: 0, to: 64, by: 2) {
            guard let octet = UInt8(String(decoding: digits[index..<index + 2], as: UTF8.self), radix: 16) else {
                return nil
            }
            octets.append(octet)
        }
        return octets
    }
}
