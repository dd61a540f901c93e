/// An mbox that is in memory, such as one that came through a pipe.
package enum MboxText {
    /// Whether the octets are an mbox rather than one message: a message has no line `From …` without a colon on top.
    package static func isMbox(_ octets: [UInt8]) -> Bool { octets.starts(with: "From ".utf8) }

    /// Its messages: lines end in CRLF, and mboxrd's `>` before `From ` is taken off.
    package static func messages(in octets: [UInt8]) -> [[UInt8]] {
        var indexer = MboxIndexer()
        octets.withUnsafeBytes { indexer.feed($0) }
        return indexer.finish().map { entry in
            var message: [UInt8] = []
            var normaliser = LineNormaliser(unquotes: true)
            normaliser.feed(octets[entry.content..<entry.contentEnd], into: &message)
            normaliser.finish(into: &message)
            return message
        }
    }
}
