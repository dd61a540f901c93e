import Milter
import NIOConcurrencyHelpers
import NIOCore
import Network
import Testing

/// A milter that does as it's told, and remembers what it heard.
final class ScriptedMilter: Sendable {
    /// What it does about an event.
    enum Act: Sendable {
        case say(Character, String = "", number: UInt32? = nil)
        case raw([UInt8])
        case close
        /// Nothing for a while.
        case pause(TimeAmount)
    }

    struct State {
        /// The events, as the letter and what follows; NULs are bars.
        var heard: [String] = []
        /// Macros by the letter of their event.
        var macros: [Character: [String: String]] = [:]
        var connections = 0
    }

    private let state = NIOLockedValueBox(State())
    private let listener: Listener
    let address: SocketAddress
    private let steps: MilterSteps
    private let actions: MilterActions
    private let macroList: String
    private let script: @Sendable (Character, String) -> [Act]?

    /// - Parameter script: what it does about an event, by letter and payload; nil for going on.
    init(
        on loop: any EventLoop,
        steps: MilterSteps = [],
        actions: MilterActions = .all,
        macroList: String = "",
        script: @escaping @Sendable (Character, String) -> [Act]? = { _, _ in nil }
    ) async throws {
        self.steps = steps
        self.actions = actions
        self.macroList = macroList
        self.script = script
        listener = Listener(group: loop)
        let socket = try InternetSocket.listen(try SocketAddress(ipAddress: "127.0.0.1", port: 0))
        address = try SocketAddress(ipAddress: "127.0.0.1", port: try #require(InternetSocket.port(of: socket)))
        try await listener.accept(on: socket) { [weak self] in await self?.serve($0) }
    }

    var heard: [String] { state.withLockedValue { $0.heard } }
    /// The letters of the events alone.
    var letters: String { String(heard.compactMap(\.first)) }
    var connections: Int { state.withLockedValue { $0.connections } }
    func macros(_ letter: Character) -> [String: String] { state.withLockedValue { $0.macros[letter] ?? [:] } }
    func forget() { state.withLockedValue { $0 = State(connections: $0.connections) } }
    func stop() async { await listener.shutDown(grace: .milliseconds(10)) }

    private func serve(_ connection: Connection) async {
        state.withLockedValue { $0.connections += 1 }
        do {
            while true {
                while let packet = try MilterPacket.next(from: &connection.input) {
                    guard try await take(packet, connection) else { return }
                }
                guard try await connection.receive() else { return }
            }
        } catch {}
    }

    private func take(_ packet: MilterPacket, _ connection: Connection) async throws -> Bool {
        let letter = Character(Unicode.Scalar(packet.code))
        let text = String(decoding: packet.payload.readableBytesView.map { $0 == 0 ? 0x7C : $0 }, as: UTF8.self)
        if letter == "D" {
            let words = text.dropFirst().split(separator: "|", omittingEmptySubsequences: false).map(String.init)
            var macros: [String: String] = [:]
            for place in stride(from: 0, to: words.count - 1, by: 2) { macros[words[place]] = words[place + 1] }
            let known = macros
            state.withLockedValue { $0.macros[text.first ?? "?"] = known }
            return true
        }
        state.withLockedValue { $0.heard.append("\(letter)\(text)") }
        var acts = script(letter, text)
        if letter == "O", acts == nil {
            var list = ByteBuffer()
            for number in [6, actions.rawValue, steps.rawValue] { list.writeInteger(number) }
            if !macroList.isEmpty {
                list.writeInteger(UInt32(0))
                list.writeString("\(macroList)\u{0}")
            }
            acts = [.raw(Self.packet("O", list))]
        }
        for act in acts ?? ("AQK".contains(letter) || isSilent(letter) ? [] : [.say("c")]) {
            switch act {
            case .say(let code, let text, let number):
                var payload = ByteBuffer()
                if let number { payload.writeInteger(number) }
                payload.writeBytes(text.utf8.map { $0 == 0x7C ? 0 : $0 })
                connection.write(Self.packet(code, payload))
            case .raw(let octets): connection.write(octets)
            case .close:
                try await connection.flush()
                return false
            case .pause(let time):
                try await connection.flush()
                await connection.eventLoop.pause(time)
            }
        }
        try await connection.flush()
        return letter != "Q"
    }

    private func isSilent(_ letter: Character) -> Bool {
        let silent: [Character: MilterSteps] = [
            "C": .silentConnect, "H": .silentHelo, "M": .silentMail, "R": .silentRecipient, "T": .silentData,
            "L": .silentHeaders, "N": .silentEndOfHeader, "B": .silentBody, "U": .silentUnknown,
        ]
        return silent[letter].map { steps.contains($0) } ?? false
    }

    private static func packet(_ code: Character, _ payload: ByteBuffer) -> [UInt8] {
        var octets = ByteBuffer()
        octets.writeInteger(UInt32(payload.readableBytes + 1))
        octets.writeInteger(code.asciiValue ?? 0)
        octets.writeImmutableBuffer(payload)
        return Array(octets.readableBytesView)
    }
}
