/// Text in master files (RFC 1035 §5.1): quotes, and octets as `\DDD` or `\X`.
enum CharacterString {
    /// The octets in quotes, those that aren't printable as `\DDD`.
    static func quoted(_ octets: some Sequence<UInt8>) -> String {
        var result: [UInt8] = [0x22]
        for octet in octets {
            switch octet {
            case 0x22, 0x5C:
                result.append(0x5C)
                result.append(octet)
            case 0x20...0x7E: result.append(octet)
            default: appendDecimalEscape(octet, to: &result)
            }
        }
        result.append(0x22)
        return String(decoding: result, as: UTF8.self)
    }

    /// The octets that a word with escapes stands for.
    ///
    /// - Throws: for a wrong escape.
    static func unescape(_ text: some Collection<UInt8>) throws(RecordTextError) -> [UInt8] {
        var result: [UInt8] = []
        result.reserveCapacity(text.count)
        var octets = text.makeIterator()
        while let octet = octets.next() {
            do {
                result.append(octet == 0x5C ? try unescaped(&octets) : octet)
            } catch {
                throw RecordTextError("a wrong escape")
            }
        }
        return result
    }
}
