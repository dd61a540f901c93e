import FoundationEssentials

/// Output for programs: one JSON document a command.
enum JSONOutput {
    static func print(_ value: some Encodable) throws {
        Swift.print(String(decoding: try encoder().encode(value), as: UTF8.self))
    }

    /// The value as JSON; nothing for one that can't be written.
    static func encoded(_ value: some Encodable) -> [UInt8] { (try? encoder().encode(value)).map { Array($0) } ?? [] }

    private static func encoder() -> JSONEncoder {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        return encoder
    }
}
