import NIOCore
import SMTP
import Testing

@testable import Milter

extension MilterPacket {
    /// A packet of a code and what follows, with NULs as `|`.
    init(_ code: Character, _ text: String = "", number: UInt32? = nil) {
        var payload = ByteBuffer()
        if let number { payload.writeInteger(number) }
        payload.writeBytes(text.utf8.map { $0 == UInt8(ascii: "|") ? 0 : $0 })
        self.init(code: code.asciiValue ?? 0, payload: payload)
    }
}

@Suite struct MilterPacketTests {
    @Test func packetsComeInAnyPieces() throws {
        let octets: [UInt8] = [0, 0, 0, 1, 0x63, 0, 0, 0, 3, 0x71, 0x61, 0]
        var input = ByteBuffer()
        var packets: [MilterPacket] = []
        for octet in octets {
            input.writeInteger(octet)
            while let packet = try MilterPacket.next(from: &input) { packets.append(packet) }
        }
        #expect(packets == [MilterPacket("c"), MilterPacket("q", "a|")])
        #expect(input.readableBytes == 0)
    }

    @Test func lengthsThatCannotBe() {
        for (octets, error) in [
            ([0, 0, 0, 0], MilterProtocolError.emptyPacket),
            ([0, 0x10, 0, 1], .packetTooLong(MilterPacket.maximum + 1)),
            ([0xFF, 0xFF, 0xFF, 0xFF, 1], .packetTooLong(0xFFFF_FFFF)),
        ] as [([UInt8], MilterProtocolError)] {
            var input = ByteBuffer(bytes: octets)
            #expect(throws: error) { try MilterPacket.next(from: &input) }
        }
        // Far from whole, but no longer than allowed: more is waited for.
        var input = ByteBuffer(bytes: [0, 0x10, 0, 0, 0x62] as [UInt8])
        #expect((try? MilterPacket.next(from: &input)) == .some(nil))
    }

    private func octets(_ event: MilterEvent, _ macros: MilterMacros = MilterMacros()) -> String {
        var buffer = ByteBuffer()
        macros.write(for: event, to: &buffer)
        event.write(to: &buffer)
        return String(
            decoding: buffer.readableBytesView.map { $0 == 0 ? UInt8(ascii: "|") : $0 < 0x20 ? $0 + 0x30 : $0 },
            as: UTF8.self
        )
    }

    @Test func events() {
        #expect(
            octets(.connect(name: Array("a.test".utf8), .ip4("192.0.2.1", port: 0x0203))) == "|||ECa.test|423192.0.2.1|"
        )
        #expect(octets(.connect(name: Array("[::1]".utf8), .ip6("::1", port: 0x0101))) == "|||>C[::1]|611::1|")
        #expect(octets(.connect(name: Array("h".utf8), .unknown)) == "|||4Ch|U")
        #expect(octets(.helo(Array("a".utf8))) == "|||3Ha|")
        #expect(octets(.mail(Array("<>".utf8), parameters: [Array("SIZE=1".utf8)])) == "|||;M<>|SIZE=1|")
        #expect(octets(.recipient(Array("<b@c>".utf8), parameters: [])) == "|||7R<b@c>|")
        #expect(octets(.header(name: Array("To".utf8), value: Array("x".utf8))) == "|||6LTo|x|")
        #expect(octets(.body(ByteBuffer(string: "hi"))) == "|||3Bhi")
        #expect(octets(.unknown(Array("X\u{0}Y".utf8))) == "|||4UXY|")
        for (event, letter) in [
            (MilterEvent.data, "T"), (.endOfHeader, "N"), (.endOfMessage, "E"), (.abort, "A"), (.quit, "Q"),
            (.quitForNext, "K"),
        ] { #expect(octets(event) == "|||1" + letter) }
    }

    @Test func macrosGoBefore() {
        var macros = MilterMacros()
        macros.set("j", "mx")
        macros.set("client_addr", "::1")
        macros.set("auth_authen", nil)
        #expect(octets(.data, macros) == "|||IDTj|mx|{client_addr}|::1||||1T")
        let chosen = macros.chosen([Array("client_addr".utf8)])
        var other = MilterMacros()
        other.set("client_addr", "::1")
        #expect(chosen == other)
        #expect(macros.chosen(nil) == macros)
        #expect(macros.chosen([]).isEmpty)
        var nothing = ByteBuffer()
        MilterMacros().write(for: .data, to: &nothing)
        #expect(nothing.readableBytes == 0)
    }

    @Test func offer() {
        var offer = MilterAgreement.offer
        #expect(offer.readInteger(as: UInt32.self) == 13)
        #expect(offer.readInteger(as: UInt8.self) == UInt8(ascii: "O"))
        #expect(offer.readInteger(as: UInt32.self) == 6)
        #expect(offer.readInteger(as: UInt32.self) == 0x1FF)
        #expect(offer.readInteger(as: UInt32.self) == 0x1FFFFF)
        #expect(offer.readableBytes == 0)
    }

    private func answer(_ numbers: [UInt32], _ lists: [(UInt32, String)] = []) -> MilterPacket {
        var payload = ByteBuffer()
        for number in numbers { payload.writeInteger(number) }
        for (stage, names) in lists {
            payload.writeInteger(stage)
            payload.writeString(names + "\u{0}")
        }
        return MilterPacket(code: UInt8(ascii: "O"), payload: payload)
    }

    @Test func agreement() throws {
        let agreement = try MilterAgreement(
            answer([6, 0x11, 0x10 | 0x80 | 0x1000_0000], [(0, "j {client_addr} v"), (2, ""), (99, "i")])
        )
        #expect(agreement.actions == [.addHeaders, .changeHeaders])
        #expect(agreement.steps == [.noBody, .silentHeaders])
        #expect(!agreement.wants(.body(ByteBuffer())))
        #expect(agreement.wants(.data))
        #expect(!agreement.answers(.header(name: [], value: [])))
        #expect(agreement.answers(.endOfMessage))
        #expect(!agreement.answers(.abort))
        #expect(agreement.allows(.addHeader(name: [65], value: [])))
        #expect(!agreement.allows(.quarantine([])))
        #expect(agreement.macros == [.connect: [[0x6A], Array("client_addr".utf8), [0x76]], .mail: []])
        let old = try MilterAgreement(answer([2, 0x3F, 0]))
        #expect(!old.wants(.data))
        #expect(!old.wants(.unknown([])))
        #expect(old.wants(.helo([])))
        #expect(try MilterAgreement(answer([4, 0, 0])).wants(.data))
    }

    @Test func agreementsThatAreNone() {
        for (packet, error) in [
            (answer([6, 1]), MilterProtocolError.malformed(0x4F)), (answer([1, 0, 0]), .unknownVersion(1)),
            (answer([7, 0, 0]), .unknownVersion(7)), (MilterPacket("c"), .unexpectedReply(0x63)),
            (answer([6, 0, 0, 1]), .malformed(0x4F)),
            (answer([6, 0, 0], [(1, String(repeating: "a ", count: 300))]), .malformed(0x4F)),
        ] { #expect(throws: error) { try MilterAgreement(packet) } }
    }

    @Test func simpleReplies() throws {
        for (letter, reply) in [
            ("c", MilterReply.proceed), ("a", .accept), ("d", .discard), ("r", .reject), ("t", .tempfail),
            ("s", .skip), ("p", .progress), ("4", .shutdown), ("f", .connectionFailure),
        ] as [(Character, MilterReply)] {
            #expect(try MilterReply(MilterPacket(letter)) == reply)
            #expect(reply.isFinal == (reply != .progress))
            #expect(throws: MilterProtocolError.malformed(letter.asciiValue ?? 0)) {
                try MilterReply(MilterPacket(letter, "x"))
            }
        }
        #expect(throws: MilterProtocolError.unknownReply(0)) {
            try MilterReply(MilterPacket(code: 0, payload: ByteBuffer()))
        }
        #expect(throws: MilterProtocolError.unknownReply(0x4F)) { try MilterReply(MilterPacket("O", "")) }
    }

    @Test func refusals() throws {
        func refusal(_ text: String) -> Reply? {
            guard case .refuse(let reply) = try? MilterReply(MilterPacket("y", text)) else { return nil }
            return reply
        }
        #expect(refusal("550 5.7.1 no|") == Reply(.mailboxUnavailable, .notAuthorized, "no"))
        #expect(refusal("451 later|") == Reply(.localError, nil, "later"))
        #expect(refusal("421|") == Reply(.serviceNotAvailable, nil, ""))
        #expect(refusal("554 5.7.1 100%% sure, 5% not|")?.lines == ["100% sure, 5 not"])
        #expect(refusal("550-5.7.1 one\r\n550 5.7.1 two|")?.lines == ["one", "two"])
        #expect(refusal("550 " + String(repeating: "x", count: 600) + "|")?.lines[0].utf8.count == 480)
        for text in [
            "", "|", "250 ok|", "354 go|", "55 x|", "550_x|", "550 no", "550 a|b|", "550-a\r\n450 b|", "550-a|",
            "99999|",
        ] {
            #expect(refusal(text) == nil, "\(text)")
        }
    }

    @Test func modifications() throws {
        func octets(_ text: String) -> [UInt8] { Array(text.utf8) }
        for (packet, modification) in [
            (MilterPacket("h", "X-A|1|"), MilterModification.addHeader(name: octets("X-A"), value: octets("1"))),
            (MilterPacket("i", "X|v|", number: 7), .insertHeader(at: 7, name: octets("X"), value: octets("v"))),
            (MilterPacket("m", "X||", number: 2), .changeHeader(number: 2, name: octets("X"), value: [])),
            (MilterPacket("+", "<a@b>|"), .addRecipient(octets("<a@b>"), parameters: nil)),
            (
                MilterPacket("2", "<a@b>|NOTIFY=NEVER|"),
                .addRecipient(octets("<a@b>"), parameters: octets("NOTIFY=NEVER"))
            ),
            (MilterPacket("2", "<a@b>|"), .addRecipient(octets("<a@b>"), parameters: nil)),
            (MilterPacket("-", "<a@b>|"), .deleteRecipient(octets("<a@b>"))),
            (MilterPacket("e", "<a@b>|"), .changeSender(octets("<a@b>"), parameters: nil)),
            (MilterPacket("e", "<>|RET=HDRS|"), .changeSender(octets("<>"), parameters: octets("RET=HDRS"))),
            (MilterPacket("b", "a|b"), .replaceBody(ByteBuffer(bytes: [0x61, 0, 0x62]))),
            (MilterPacket("q", "why|"), .quarantine(octets("why"))),
        ] {
            #expect(try MilterReply(packet) == .modification(modification))
        }
        for packet in [
            MilterPacket("h", ""), MilterPacket("h", "X-A|1"), MilterPacket("h", "|1|"), MilterPacket("h", "X A|1|"),
            MilterPacket("h", "X:|1|"), MilterPacket("h", "X|1|2|"), MilterPacket("h", "Ü|1|"), MilterPacket("i", "X"),
            MilterPacket("i", "|v|", number: 1), MilterPacket("m", "", number: 1), MilterPacket("m"),
            MilterPacket("+", "a"), MilterPacket("+", "a|b|"), MilterPacket("2", "a|b|c|"), MilterPacket("2"),
            MilterPacket("-"), MilterPacket("e"), MilterPacket("q"), MilterPacket("q", "a|b"),
        ] { #expect(throws: MilterProtocolError.malformed(packet.code)) { try MilterReply(packet) } }
    }
}
