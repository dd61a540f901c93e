import DNS
import NIOCore
import NIOHTTP1

/// A response of DNS over HTTPS (RFC 8484 §4.2): an answer, or the reason why there is none.
struct HTTPSResponse {
    var status: HTTPResponseStatus
    var headers = HTTPHeaders()
    var body: ByteBuffer

    /// An answer, with how long caches may keep it (RFC 8484 §5.1).
    init(answer: ByteBuffer) {
        status = .ok
        body = answer
        headers.add(name: "content-type", value: HTTPSRequest.mediaType)
        headers.add(name: "cache-control", value: "max-age=\((try? DNSMessage(decoding: answer))?.lifetime ?? 0)")
    }

    /// That a request isn't served.
    init(_ refusal: HTTPSRequest.Refusal) {
        status = refusal.status
        body = ByteBuffer(string: refusal.reason + "\n")
        headers.add(name: "content-type", value: "text/plain; charset=utf-8")
        if let allowed = refusal.allowed { headers.add(name: "allow", value: allowed) }
    }

    /// The whole head.
    func head(version: HTTPVersion, date: String, closes: Bool) -> HTTPResponseHead {
        var headers = headers
        headers.add(name: "content-length", value: String(body.readableBytes))
        headers.add(name: "date", value: date)
        if closes { headers.add(name: "connection", value: "close") }
        return HTTPResponseHead(version: version, status: status, headers: headers)
    }
}
