import Bus
import Keys
import NIOCore

/// What keyd is asked, and what it answers: frames, requests and answers.
let keyFrameTarget = FuzzTarget("key-frames") { input in
    var octets = ByteBuffer(bytes: input)
    var parser = FrameParser()
    while let frame = try? parser.next(from: &octets) {
        if let request = try? KeyRequest(frame) {
            demand((try? KeyRequest(request.frame)) == request, "a request that comes back as another")
        }
        if let certificate = ServedCertificate(frame) {
            demand(ServedCertificate(certificate.frame(tag: nil)) == certificate, "another certificate comes back")
            _ = ServedCertificate.shown(to: frame["server-name"], of: [certificate], hostname: "mail.example")
        }
        if let keys = TicketKeys(frame) {
            demand(TicketKeys(.ok(tag: nil, keys.fields)) == keys, "other ticket keys come back")
        }
        if let keys = DKIMKey.all(in: frame) {
            demand(DKIMKey.all(in: .ok(tag: nil, keys.flatMap(\.fields))) == keys, "other keys come back")
        }
    }
}
