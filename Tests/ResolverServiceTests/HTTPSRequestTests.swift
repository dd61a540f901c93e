import DNS
import DNSFixtures
import NIOCore
import NIOHTTP1
import Testing

@testable import LocalZones
@testable import Recursion
@testable import ResolverService

struct HTTPSRequestTests {
    /// The query for www.example.com of RFC 8484 §4.1.1.
    private static let encoded = "AAABAAABAAAAAAAAA3d3dwdleGFtcGxlA2NvbQAAAQAB"
    private static let query = RadixCoding.base64url.decode(encoded.utf8) ?? []

    private func head(
        _ method: HTTPMethod,
        _ target: String,
        _ headers: [(String, String)] = []
    ) -> HTTPRequestHead {
        HTTPRequestHead(version: .http1_1, method: method, uri: target, headers: HTTPHeaders(headers))
    }

    /// The query of a request, or the status of its refusal.
    private func outcome(_ head: HTTPRequestHead, _ pieces: [[UInt8]] = []) -> Result<[UInt8], HTTPSRequest.Refusal> {
        do throws(HTTPSRequest.Refusal) {
            var request = try HTTPSRequest(head, path: "/dns-query")
            for piece in pieces { try request.take(ByteBuffer(bytes: piece)) }
            return .success(Array(try request.query().readableBytesView))
        } catch {
            return .failure(error)
        }
    }

    private func status(_ head: HTTPRequestHead, _ pieces: [[UInt8]] = []) -> HTTPResponseStatus? {
        if case .failure(let refusal) = outcome(head, pieces) { refusal.status } else { nil }
    }

    @Test(arguments: [
        "/dns-query?dns=\(encoded)", "/dns-query?ct&dns=\(encoded)", "/dns-query?dns=\(encoded)&x=1",
        "https://dns.example/dns-query?dns=\(encoded)",
    ])
    func theQueryInTheTarget(_ target: String) throws {
        #expect(try outcome(head(.GET, target)).get() == Self.query)
        // What a GET request has in its body counts for nothing.
        #expect(try outcome(head(.GET, target), [[1, 2, 3]]).get() == Self.query)
    }

    @Test func theQueryInTheBody() throws {
        for type in ["application/dns-message", "Application/DNS-Message; x=y"] {
            let head = head(.POST, "/dns-query", [("Content-Type", type)])
            #expect(try outcome(head, [Self.query]).get() == Self.query)
            #expect(try outcome(head, Self.query.map { [$0] }).get() == Self.query)
        }
    }

    @Test(arguments: [
        "/", "/dns-query/", "/dns-queryx?dns=\(encoded)", "/dns-query%20", "*", "", "https://dns.example",
        "https://dns.example/other?dns=\(encoded)", "//dns-query", "/DNS-QUERY?dns=\(encoded)",
    ])
    func otherPaths(_ target: String) { #expect(status(head(.GET, target)) == .notFound) }

    @Test(arguments: [
        "/dns-query", "/dns-query?", "/dns-query?dns=", "/dns-query?dns=\(encoded)&dns=\(encoded)",
        "/dns-query?DNS=\(encoded)", "/dns-query?dns=\(encoded)=", "/dns-query?dns=A", "/dns-query?dns=AAAA",
        "/dns-query?dns=%41\(encoded)", "/dns-query?x?dns=\(encoded)",
        // An answer isn't answered.
        "/dns-query?dns=AACAAAABAAAAAAAAA3d3dwdleGFtcGxlA2NvbQAAAQAB",
    ])
    func badQueries(_ target: String) { #expect(status(head(.GET, target)) == .badRequest) }

    @Test func methodsTypesAndSizes() {
        for method in [HTTPMethod.PUT, .HEAD, .DELETE, .OPTIONS, .RAW(value: "BREW")] {
            let head = head(method, "/dns-query?dns=\(Self.encoded)")
            guard case .failure(let refusal) = outcome(head) else {
                Issue.record("\(method) is served")
                continue
            }
            #expect(refusal.status == .methodNotAllowed)
            #expect(refusal.allowed == "GET, POST")
        }
        #expect(status(head(.POST, "/dns-query"), [Self.query]) == .unsupportedMediaType)
        for type in ["application/json", "application/dns-message+x", "text/plain; application/dns-message", ""] {
            #expect(status(head(.POST, "/dns-query", [("Content-Type", type)])) == .unsupportedMediaType)
        }
        let twice = [("Content-Type", "application/dns-message"), ("Content-Type", "text/plain")]
        #expect(status(head(.POST, "/dns-query", twice)) == .unsupportedMediaType)
        let typed = [("Content-Type", "application/dns-message")]
        #expect(status(head(.POST, "/dns-query", typed)) == .badRequest)
        #expect(status(head(.POST, "/dns-query", typed), [[1, 2, 3]]) == .badRequest)
        #expect(status(head(.POST, "/dns-query", typed + [("Content-Length", "65536")])) == .payloadTooLarge)
        let large = [UInt8](repeating: 0, count: 40_000)
        #expect(status(head(.POST, "/dns-query", typed), [large, large]) == .payloadTooLarge)
        #expect(status(head(.GET, "/dns-query?dns=" + String(repeating: "A", count: 17_000))) == .uriTooLong)
    }

    @Test(arguments: [
        ([], true), (["*/*"], true), (["application/*"], true), (["application/dns-message"], true),
        (["text/html, application/dns-message;q=0.1"], true), (["text/html", "*/*;q=0.01"], true),
        (["application/json"], false), (["application/dns-message;q=0"], false),
        (["*/*, application/dns-message; q=0.000"], false), (["application/*;q=0, */*"], false),
    ])
    func whatTheClientTakes(_ fields: [String], _ isServed: Bool) {
        let head = head(.GET, "/dns-query?dns=\(Self.encoded)", fields.map { ("Accept", $0) })
        #expect(status(head) == (isServed ? nil : .notAcceptable))
    }

    @Test func howLongAnswersStayFresh() throws {
        let query = DNSMessage.query(id: 0, question: Question(name: try DomainName("a.test"), type: .a))
        func freshness(_ message: DNSMessage) -> UInt32? {
            let response = HTTPSResponse(answer: ByteBuffer(bytes: message.encode()))
            return response.headers.first(name: "cache-control").flatMap { UInt32($0.dropFirst("max-age=".count)) }
        }
        let start = "test. 100 SOA a.test. b.test. 1 2 3 4 60"
        let answers = ["a.test. 300 CNAME b.test.", "b.test. 70 A 192.0.2.1"]
        #expect(freshness(query.answered(answers: answers)) == 70)
        #expect(freshness(query.answered(.nameError, authorities: [start])) == 60)
        #expect(freshness(query.answered(authorities: [start])) == 60)
        #expect(freshness(query.answered(.nameError, answers: [answers[0]], authorities: [start])) == 60)
        #expect(freshness(query.answered()) == 0)
        #expect(freshness(query.answered(.serverFailure, answers: answers)) == 0)
        #expect(
            HTTPSResponse(answer: ByteBuffer(bytes: [1, 2, 3])).headers.first(name: "cache-control") == "max-age=0"
        )
    }

    @Test func datesOfHTTP() {
        // RFC 9110 §5.6.7
        #expect(HTTPDate.text(784_111_777) == "Sun, 06 Nov 1994 08:49:37 GMT")
        #expect(HTTPDate.text(0) == "Thu, 01 Jan 1970 00:00:00 GMT")
    }
}
