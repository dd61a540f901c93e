import DNS
import NIOCore
import NIOEmbedded
import ResolverService

/// What a connection sends by HTTP/1.1 to where DNS over HTTPS is answered: whatever pieces the octets come in, the same
/// requests come of them; a query has the form of one, and is the same query in either way to send it.
let dnsHTTPSTarget = FuzzTarget("dns-https", maximum: 4096) { input in
    let octets = Array(input)
    guard let first = octets.first else { return }
    let sent = Array(octets.dropFirst())
    let whole = outcomes(of: sent, pieces: sent.count)
    demand(whole == outcomes(of: sent, pieces: Int(first % 32) + 1), "other pieces, other requests")
    for outcome in whole {
        switch outcome {
        case .refused(let status):
            demand([400, 404, 405, 406, 413, 414, 415].contains(status), "status \(status) is never answered")
        case .query(let query):
            demand((12...65535).contains(query.count) && query[2] & 0x80 == 0, "that is no query")
            let text = String(decoding: RadixCoding.base64url.encode(query), as: UTF8.self)
            let path = HTTPSRehearsal.path
            let get = "GET \(path)?dns=\(text) HTTP/1.1\r\nHost: a\r\n\r\n"
            let post =
                "POST \(path) HTTP/1.1\r\nHost: a\r\nContent-Type: application/dns-message\r\n"
                + "Content-Length: \(query.count)\r\n\r\n"
            // A long one doesn't fit into a head.
            if query.count < 4096 { demand(outcomes(of: Array(get.utf8)) == [outcome], "GET gives another query") }
            demand(outcomes(of: Array(post.utf8) + query) == [outcome], "POST gives another query")
        }
    }
}

/// What octets come to, in pieces of one length; what follows a fault of HTTP counts for nothing.
private func outcomes(of octets: [UInt8], pieces: Int = .max) -> [HTTPSRehearsal.Outcome] {
    let rehearsal = HTTPSRehearsal()
    let channel = EmbeddedChannel(handlers: [HTTPSRehearsal.decoder(), rehearsal])
    defer { _ = try? channel.finish(acceptAlreadyClosed: true) }
    var rest = octets[...]
    do {
        while !rest.isEmpty {
            try channel.writeInbound(ByteBuffer(bytes: rest.prefix(pieces)))
            rest = rest.dropFirst(pieces)
        }
    } catch {}
    return rehearsal.outcomes
}
