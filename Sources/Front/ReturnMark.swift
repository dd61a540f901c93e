import Encodings
import NIOCore

/// What a session's octets have in them where it gives its client back: NUL, and 32 hexadecimal digits that the front has made up
/// for this session. Nobody else knows them, so nothing that is in a mailbox can look like it; and no answer that is complete
/// ends with NUL, so none is held back for long.
package struct ReturnMark: Sendable, Equatable {
    /// The digits, as they stand in `SESSION`.
    package let text: String
    package let octets: [UInt8]

    /// A new one.
    package init() {
        var random = SystemRandomNumberGenerator()
        self.init(digits: (0..<16).flatMap { _ in Self.digits(UInt8.random(in: 0...255, using: &random)) })
    }

    /// Nil for what isn't 32 hexadecimal digits.
    init?(text: String) {
        let digits = Array(text.utf8)
        guard digits.count == 32, digits.allSatisfy(Self.alphabet.contains) else { return nil }
        self.init(digits: digits)
    }

    private init(digits: [UInt8]) {
        text = String(decoding: digits, as: UTF8.self)
        octets = [0] + digits
    }

    private static let alphabet = Array("0123456789abcdef".utf8)

    private static func digits(_ octet: UInt8) -> [UInt8] {
        [alphabet[Int(octet >> 4)], alphabet[Int(octet & 15)]]
    }

    /// How many octets come before the mark, and how many of the mark are there behind them: all of it, or what may become it.
    func find(in octets: ByteBufferView) -> (before: Int, of: Int) {
        var start = octets.startIndex
        while let place = octets[start...].firstIndex(of: 0) {
            let found = zip(octets[place...], self.octets).prefix { $0 == $1 }.count
            if found == self.octets.count || place + found == octets.endIndex {
                return (place - octets.startIndex, found)
            }
            start = place + 1
        }
        return (octets.count, 0)
    }
}
