import DNS
import NIOCore
import NIOHTTP1

/// One request of DNS over HTTPS (RFC 8484 §4.1) as it arrives: first its head, then its body in pieces.
struct HTTPSRequest {
    /// The media type of DNS messages (RFC 8484 §6).
    static let mediaType = "application/dns-message"
    /// The longest request target that is looked at. Octets.
    static let maximumTarget = 16 * 1024
    /// The longest head: the target and all fields. Octets.
    static let maximumHead = 16 * 1024
    /// The most fields of a head.
    static let maximumFields = 100

    private let isPost: Bool
    private var message: ByteBuffer

    /// What is said to a request that isn't served.
    struct Refusal: Error, Equatable {
        var status: HTTPResponseStatus
        var reason: String
        /// The methods that are served, for 405.
        var allowed: String?
    }

    /// - Parameter path: where DNS is answered.
    init(_ head: HTTPRequestHead, path: String) throws(Refusal) {
        guard head.uri.utf8.count <= Self.maximumTarget else {
            throw Refusal(status: .uriTooLong, reason: "the request target is too long")
        }
        let parts = head.uri.split(separator: "?", maxSplits: 1, omittingEmptySubsequences: false)
        guard let target = parts.first, Self.path(of: target) == path else {
            throw Refusal(status: .notFound, reason: "DNS is answered at \(path)")
        }
        guard head.method == .GET || head.method == .POST else {
            throw Refusal(status: .methodNotAllowed, reason: "GET and POST are served", allowed: "GET, POST")
        }
        guard Self.accepts(head.headers["accept"]) else {
            throw Refusal(status: .notAcceptable, reason: "the answer would be \(Self.mediaType)")
        }
        isPost = head.method == .POST
        guard isPost else {
            message = ByteBuffer(bytes: try Self.message(inQuery: parts.count > 1 ? parts[1] : ""))
            return
        }
        guard head.headers["content-type"].count == 1, Self.isMessage(head.headers["content-type"].first ?? "") else {
            throw Refusal(status: .unsupportedMediaType, reason: "the body must be \(Self.mediaType)")
        }
        if let length = head.headers.first(name: "content-length").flatMap({ Int($0) }) {
            guard length <= DNSMessage.maximumOctets else { throw Self.tooLarge }
        }
        message = ByteBuffer()
    }

    /// What is held of it. Octets.
    var octets: Int { message.readableBytes }

    /// Takes a piece of the body; that of a GET request counts for nothing.
    mutating func take(_ piece: ByteBuffer) throws(Refusal) {
        guard isPost else { return }
        guard message.readableBytes + piece.readableBytes <= DNSMessage.maximumOctets else { throw Self.tooLarge }
        message.writeImmutableBuffer(piece)
    }

    /// The query, once all has arrived.
    func query() throws(Refusal) -> ByteBuffer {
        // Whether it has the rest of a message's form is said by an answer of DNS (RFC 8484 §4.2.1).
        guard message.readableBytes >= DNSMessage.headerOctets,
            let flags = message.getInteger(at: message.readerIndex + 2, as: UInt16.self), flags & 0x8000 == 0
        else { throw Refusal(status: .badRequest, reason: "that is no DNS query") }
        return message
    }

    /// That a body is longer than a message can be.
    static let tooLarge = Refusal(status: .payloadTooLarge, reason: "a DNS message has 65535 octets at most")

    /// The path of a request target in origin form or absolute form (RFC 9112 §3.2).
    private static func path(of target: Substring) -> Substring {
        guard target.first != "/", let scheme = target.firstRange(of: "://") else { return target }
        let rest = target[scheme.upperBound...]
        return rest.firstIndex(of: "/").map { rest[$0...] } ?? "/"
    }

    /// The message in the variable `dns` (RFC 8484 §4.1.1).
    private static func message(inQuery query: Substring) throws(Refusal) -> [UInt8] {
        let values = query.split(separator: "&").filter { $0.hasPrefix("dns=") }.map { $0.dropFirst(4) }
        guard values.count == 1, let text = values.first, !text.isEmpty,
            let octets = RadixCoding.base64url.decode(text.utf8)
        else { throw Refusal(status: .badRequest, reason: "dns must be one message in base64url without padding") }
        guard octets.count <= DNSMessage.maximumOctets else { throw tooLarge }
        return octets
    }

    /// Whether a field names the media type, whatever its parameters.
    private static func isMessage(_ field: String) -> Bool {
        let type = field.split(separator: ";", omittingEmptySubsequences: false).first ?? ""
        return trimmed(type).lowercased() == mediaType
    }

    /// Whether the client takes DNS messages (RFC 9110 §12.5.1); everything where it doesn't say.
    private static func accepts(_ fields: [String]) -> Bool {
        let ranges = fields.flatMap { $0.split(separator: ",") }
        guard !ranges.isEmpty else { return true }
        // The most exact of those that fit decides.
        var best: (exactness: Int, isWanted: Bool) = (-1, false)
        for range in ranges {
            let parts = range.split(separator: ";").map { trimmed($0).lowercased() }
            let exactness = [mediaType: 2, "application/*": 1, "*/*": 0][parts.first ?? ""] ?? -1
            guard exactness > best.exactness else { continue }
            let weight = parts.dropFirst().first { $0.hasPrefix("q=") }?.dropFirst(2)
            best = (exactness, !(weight.map { $0.allSatisfy { $0 == "0" || $0 == "." } } ?? false))
        }
        return best.isWanted
    }

    private static func trimmed(_ text: Substring) -> Substring {
        var text = text
        while let first = text.first, first == " " || first == "\t" { text = text.dropFirst() }
        while let last = text.last, last == " " || last == "\t" { text = text.dropLast() }
        return text
    }
}
