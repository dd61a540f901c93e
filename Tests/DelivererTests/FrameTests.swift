import Bus
import Daemon
import NIOCore
import SMTP
import Testing

@testable import Deliverer

/// Requests, pieces and results as they stand in frames.
@Suite struct FrameTests {
    private static func request() throws -> DeliverRequest {
        DeliverRequest(
            id: "aa11",
            attempt: 3,
            arrived: 1_795_447_200,
            mayBeKnown: true,
            sender: try EnvelopeSender(parsing: "<a@example.test> BODY=8BITMIME ENVID=x+2By".utf8),
            recipients: try ["<b@example.test> NOTIFY=NEVER", "<c@example.test>"].map {
                try EnvelopeRecipient(parsing: $0.utf8)
            },
            destination: "example.test",
            added: ByteBuffer(string: "Received: x\r\n"),
            octets: 5,
            message: ByteBuffer(string: "hello")
        )
    }

    @Test func requestComesBack() throws {
        var request = try Self.request()
        #expect(try DeliverRequest(request.frame) == request)
        #expect(request.frame.body.map { String(buffer: $0) } == "Received: x\r\nhello")
        request.message = nil
        request.octets = DeliverRequest.inlineLimit + 1
        request.destination = nil
        request.mayBeKnown = false
        request.added = ByteBuffer()
        #expect(try DeliverRequest(request.frame) == request)
        request.isExpanded = true
        request.submitter = .program
        request.route = .hosts(RelayHosts([RelayHost(host: "relay.test", port: 587)]))
        request.octets = 0
        request.message = ByteBuffer()
        #expect(try DeliverRequest(request.frame) == request)
    }

    @Test(arguments: [
        ("id", "", "malformed id"), ("id", "../x", "malformed id"), ("id", "A1", "malformed id"),
        ("id", String(repeating: "a", count: 65), "malformed id"), ("octets", "x", "malformed octets"),
        ("octets", "-1", "malformed octets"), ("octets", "4", "the body is not the message"),
        ("octets", "999999999999", "the body is not the message"),
        ("octets", "1000000000000", "malformed octets"), ("octets", "9223372036854775807", "malformed octets"),
        ("sender", "x", "malformed sender"),
        ("recipient", "x", "malformed recipient"), ("recipient", "<>", "malformed recipient"),
        ("added", "x", "malformed added"), ("added", "-1", "malformed added"), ("added", "19", "malformed added"),
        ("added", "12", "the body is not the message"), ("route", "elsewhere", "malformed route"),
    ])
    func requestThatIsNone(field: String, value: String, text: String) throws {
        var frame = try Self.request().frame
        frame[field] = value
        #expect(throws: DeliverRequest.Malformed(text: text)) { try DeliverRequest(frame) }
        // Without one it goes to the hosts of its domain.
        if field == "route" { return }
        frame[field] = nil
        if field == "added" {
            #expect(throws: DeliverRequest.Malformed(text: "the body is not the message")) { try DeliverRequest(frame) }
        } else {
            #expect(throws: DeliverRequest.Malformed.self) { try DeliverRequest(frame) }
        }
    }

    @Test func smallMessageMustComeWithTheRequest() throws {
        var request = try Self.request()
        request.message = nil
        #expect(throws: DeliverRequest.Malformed.self) { try DeliverRequest(request.frame) }
        request.octets = DeliverRequest.inlineLimit
        #expect(throws: DeliverRequest.Malformed.self) { try DeliverRequest(request.frame) }
    }

    @Test func pieceRequestComesBack() {
        let request = PieceRequest(tag: "7", offset: 65_536, length: 10)
        #expect(PieceRequest(request.frame) == request)
        let answer = request.answer(ByteBuffer(string: "0123456789"))
        #expect(answer.replyKind == .ok)
        #expect(answer["tag"] == "7")
        #expect(answer.integer("offset") == 65_536)
        let refusal = request.refusal("disk trouble")
        #expect(refusal.replyKind == .defer)
        #expect(refusal["tag"] == "7")
        #expect(refusal["text"] == "disk trouble")
    }

    @Test(arguments: [
        ("offset", "-1"), ("offset", "x"), ("length", "0"), ("length", "-1"), ("length", "65537"), ("length", "x"),
    ])
    func pieceRequestThatIsNone(field: String, value: String) {
        var frame = PieceRequest(tag: "7", offset: 0, length: 1).frame
        frame[field] = value
        #expect(PieceRequest(frame) == nil)
        frame[field] = nil
        #expect(PieceRequest(frame) == nil)
        var other = PieceRequest(tag: "7", offset: 0, length: 1).frame
        other["tag"] = nil
        #expect(PieceRequest(other) == nil)
        #expect(PieceRequest(Frame("WRITE", ["tag": "7", "offset": "0", "length": "1"])) == nil)
    }

    private static let remote = RemoteHost(name: "mx.example.net", address: "192.0.2.25", port: 25)

    @Test(arguments: [
        DeliveryResult(.delivered, .success, "in the mailbox"),
        DeliveryResult(.relayed, .success, "accepted", remote: remote, diagnostic: "250 2.0.0 ok"),
        DeliveryResult(.expanded, .success, "forwarded", expanded: 3),
        DeliveryResult(.delayed, .noAnswer, "nobody there", scope: .destination),
        DeliveryResult(.delayed, .systemTrouble, ""),
        DeliveryResult(.failed, .noSuchMailbox, "refused RCPT", remote: remote, diagnostic: "550 no\n100%"),
    ])
    func resultComesBack(_ result: DeliveryResult) throws {
        let recipient = try EnvelopeRecipient(parsing: "<b@example.test> NOTIFY=NEVER".utf8)
        let frame = result.frame(recipient: recipient)
        #expect(frame["recipient"] == "<b@example.test> NOTIFY=NEVER")
        #expect(frame["action"] == result.action.rawValue)
        #expect(DeliveryResult(frame, success: .relayed) == result)
        #expect(result.frame(recipient: nil)["recipient"] == nil)
    }

    @Test func delayMayBeUncertain() {
        var result = DeliveryResult(.delayed, .systemTrouble, "the disk failed")
        result.isUncertain = true
        #expect(result.frame(recipient: nil)["uncertain"] == "yes")
        #expect(DeliveryResult(result.frame(recipient: nil), success: .delivered) == result)
        #expect(!DeliveryResult(Frame("REJECT", ["uncertain": "yes"]), success: .delivered).isUncertain)
    }

    @Test func whatIsNotUnderstoodIsADelay() {
        #expect(DeliveryResult(Frame("MAYBE"), success: .delivered) == .init(.delayed, .init(4, 0, 0), ""))
        let odd = Frame("DEFER", ["status": "5.1.1", "action": "delivered", "scope": "world", "text": "x"])
        #expect(DeliveryResult(odd, success: .delivered) == .init(.delayed, .init(4, 0, 0), "x"))
        let rejected = Frame("REJECT", ["status": "nonsense", "scope": "destination", "diagnostic": "550 no"])
        #expect(
            DeliveryResult(rejected, success: .delivered) == .init(.failed, .failure, "550 no", diagnostic: "550 no")
        )
        // An OK is believed: the message is where it should be.
        let done = Frame("OK", ["status": "4.0.0", "action": "failed"])
        #expect(DeliveryResult(done, success: .relayed) == .init(.relayed, .success, ""))
        #expect(DeliveryResult(Frame("OK", ["expanded": "2"]), success: .relayed).action == .expanded)
    }
}
