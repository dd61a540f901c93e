import NIOCore

/// The moments at which macros are sent, by the numbers that milters ask for them with (`SMFIM_*`).
package enum MilterStage: UInt32, Sendable, CaseIterable {
    case connect = 0
    case helo = 1
    case mail = 2
    case recipient = 3
    case data = 4
    case endOfMessage = 5
    case endOfHeader = 6
}

/// What a milter is told beside an event: names and values.
package struct MilterMacros: Sendable, Equatable {
    private var entries: [(name: [UInt8], value: [UInt8])] = []

    package init() {}

    package static func == (one: MilterMacros, other: MilterMacros) -> Bool {
        one.entries.elementsEqual(other.entries) { $0.name == $1.name && $0.value == $1.value }
    }

    package var isEmpty: Bool { entries.isEmpty }

    /// Adds one; nil is none.
    ///
    /// - Parameter name: without braces.
    package mutating func set(_ name: StaticString, _ value: String?) {
        guard let value else { return }
        let name = name.withUTF8Buffer { Array($0) }
        entries.append((name, Array(value.utf8)))
    }

    /// Those that a milter asks for.
    ///
    /// - Parameter names: without braces; nil for all.
    package func chosen(_ names: Set<[UInt8]>?) -> MilterMacros {
        guard let names else { return self }
        var chosen = self
        chosen.entries.removeAll { !names.contains($0.name) }
        return chosen
    }

    /// The name without its braces.
    static func plain(_ name: ArraySlice<UInt8>) -> [UInt8] {
        guard name.first == UInt8(ascii: "{"), name.last == UInt8(ascii: "}"), name.count > 2 else {
            return Array(name)
        }
        return Array(name.dropFirst().dropLast())
    }

    /// Appends the packet that goes before an event. Names of more than one letter stand in braces.
    package func write(for event: MilterEvent, to buffer: inout ByteBuffer) {
        guard !entries.isEmpty else { return }
        buffer.writeMilterPacket(MilterCode.macros) { packet in
            packet.writeInteger(event.code)
            for entry in entries {
                packet.writeMilterString(entry.name.count > 1 ? [0x7B] + entry.name + [0x7D] : entry.name)
                packet.writeMilterString(entry.value)
            }
        }
    }
}
