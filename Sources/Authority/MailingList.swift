import SMTP

/// A list of addresses in a file of its own, which an alias names as `:include:PATH`: one or several a line, comments behind `#`.
package struct MailingList: Sendable, Equatable {
    /// As they are written.
    package let addresses: [String]

    /// The most addresses of a list.
    package static let maximumAddresses = 10_000
    /// Octets of a file.
    package static let maximumOctets = 1 << 20

    private static let keyword = ":include:"

    /// - Throws: `TableError` with every line that can't be understood.
    package init(text: String, file: String) throws(TableError) {
        var faults = TableFaults(file: file)
        var addresses: [String] = []
        for (number, line) in TableLines(text) {
            if let reason = TableLines.fault(of: line) {
                faults.add(line: number, reason: reason)
                continue
            }
            for target in AliasTable.targets(in: line) {
                if Self.path(of: target) != nil {
                    faults.add(line: number, reason: "a list in a file names no other one")
                } else if AliasTable.fault(ofTarget: target) != nil {
                    // Not what it is: the file may be another one than it should be.
                    faults.add(line: number, reason: "what stands there is not an address")
                } else {
                    addresses.append(target)
                }
            }
            if addresses.count > Self.maximumAddresses {
                faults.add(line: number, reason: "a list has at most \(Self.maximumAddresses) addresses")
                break
            }
        }
        // Most likely somebody is writing it: mail waits, and isn't refused.
        if addresses.isEmpty { faults.add(line: 1, reason: "the list has no address") }
        try faults.check()
        self.addresses = addresses
    }

    /// The file that a target of an alias names; nil for an address.
    package static func path(of target: String) -> String? {
        guard target.lowercased().hasPrefix(keyword) else { return nil }
        return String(target.dropFirst(keyword.count))
    }
}
