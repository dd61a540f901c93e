import Front
import SMTP
import Testing

@testable import SMTPServer

/// What one kind of listener has for itself.
@Suite struct ListenerSettingsTests {
    @Test func aListenerHasItsOwnLimits() async throws {
        try await TestServer.run {
            var own = $0.settings
            own.limits.message = 12_345
            own.front.maximumErrors = 2
            $0.settings.overrides[.submission] = own
        } _: { server in
            let (smtp, submission) = (try await server.greetedClient(), try await server.greetedClient(.submission))
            #expect(try await smtp.command("EHLO c").lines.contains("SIZE \(50 << 20)"))
            #expect(try await submission.command("EHLO c").lines.contains("SIZE 12345"))
            for _ in 0..<2 { #expect(try await submission.say("NONSENSE").hasPrefix("500")) }
            #expect(try await submission.say("NONSENSE").hasPrefix("421"))
            for _ in 0..<3 { #expect(try await smtp.say("NONSENSE").hasPrefix("500")) }
        }
    }

    /// RFC 3207 §4.
    @Test func mailNeedsTLSWhereThatIsWanted() async throws {
        try await TestServer.run {
            var own = $0.settings
            own.requiresTLS = true
            $0.settings.overrides[.smtp] = own
        } _: { server in
            let client = try await server.greetedClient()
            #expect(try await client.say("MAIL FROM:<a@example.net>").hasPrefix("530 5.7.0"))
            #expect(try await client.command("STARTTLS").code == .ready)
            try await client.startTLS()
            #expect(try await client.command("EHLO c").code == .ok)
            #expect(try await client.say("MAIL FROM:<a@example.net>").hasPrefix("250"))
        }
    }
}
