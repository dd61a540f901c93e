import Rewriting
import SMTP
import Testing

@Suite struct ForwardedSenderTests {
    private static let now = 1_796_000_000
    private let local: Set<String> = ["example.test", "other.test"]

    private func scheme(_ secrets: String = "one\n") throws -> ForwardedSender {
        try ForwardedSender(domain: "Example.test", secrets: secrets)
    }

    private func address(_ text: String) throws -> MailAddress {
        try MailAddress(parsing: text.utf8, options: .envelope)
    }

    @Test(arguments: ["a@example.org", "a+b=c@mail.example.org", "SRS0=abcd=AB=example.com=x@forwarder.org"])
    func bouncesFindTheirWay(_ sender: String) throws {
        let scheme = try scheme()
        let rewritten = try #require(scheme.rewritten(try address(sender), local: local, at: Self.now))
        #expect(rewritten.domain.lowercased() == "example.test")
        #expect(scheme.origin(of: rewritten, at: Self.now + 86_400) == .sender(try address(sender)))
        // In any case: not all mail systems keep it.
        #expect(scheme.origin(of: try address("\(rewritten)".lowercased()), at: Self.now) != .forged)
        #expect(try self.scheme("two\none").origin(of: rewritten, at: Self.now) == .sender(try address(sender)))
        #expect(try self.scheme("two").origin(of: rewritten, at: Self.now) == .forged)
    }

    @Test(arguments: [
        "a@example.test", "a@OTHER.test", "\"a b\"@example.org", "\(String(repeating: "a", count: 60))@example.org",
    ])
    func whatStays(_ sender: String) throws {
        #expect(try scheme().rewritten(try address(sender), local: local, at: Self.now) == nil)
    }

    @Test func whatIsNoneOfOurs() throws {
        let scheme = try scheme()
        let rewritten = try #require(scheme.rewritten(try address("a@example.org"), local: local, at: Self.now))
        #expect(scheme.origin(of: rewritten, at: Self.now + 30 * 86_400) == .forged)
        #expect(scheme.origin(of: try address("SRS0=aaaa=AB=example.org=a@example.test"), at: Self.now) == .forged)
        #expect(scheme.origin(of: try address("SRS0=x@example.test"), at: Self.now) == .forged)
        #expect(scheme.origin(of: try address("srs0@example.test"), at: Self.now) == .other)
        #expect(scheme.origin(of: try address("a@example.test"), at: Self.now) == .other)
        #expect(scheme.origin(of: try address("\(rewritten.localPart)@other.test"), at: Self.now) == .other)
    }

    @Test(arguments: ["", "\n \n", "# a comment\n"]) func noSecret(_ text: String) {
        #expect(throws: ForwardedSender.NoSecret.self) { try ForwardedSender(domain: "example.test", secrets: text) }
    }
}
