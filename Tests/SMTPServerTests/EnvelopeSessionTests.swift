import Front
import Bus
import NIOConcurrencyHelpers
import NIOCore
import Network
import SMTP
import Testing

@testable import SMTPServer

@Suite struct EnvelopeSessionTests {
    /// Addresses come and go while smtpd runs.
    @Test(.timeLimit(.minutes(1))) func recipientsAreForgottenWhenAuthdSaysSo() async throws {
        try await TestServer.run {
            $0.settings.recipientCache = .minutes(5)
        } _: { server in
            let client = try await server.greetedClient()
            #expect(try await client.say("MAIL FROM:<carol@example.net>") == "250 2.1.0 ok")
            #expect(try await client.say("RCPT TO:<bob@example.test>") == "250 2.1.5 ok")
            server.answers.withLockedValue {
                $0["bob@example.test"] = { .reply(.reject, status: "5.1.1", text: "gone", tag: $0["tag"]) }
            }
            #expect(try await client.say("RCPT TO:<bob@example.test>") == "250 2.1.5 ok")
            server.announceChange()
            while try await client.say("RCPT TO:<bob@example.test>") != "550 5.1.1 gone" {}
        }
    }

    /// Without authd nobody knows whose mail `<Postmaster>` reads.
    @Test func postmasterIsAuthdsToKnow() async throws {
        try await TestServer.run {
            $0.hasAuthority = false
        } _: { server in
            let client = try await server.greetedClient()
            #expect(try await client.say("MAIL FROM:<carol@example.net>") == "250 2.1.0 ok")
            #expect(try await client.say("RCPT TO:<Postmaster>").hasPrefix("451 4.3.0"))
        }
    }

    @Test func offersWhatItCan() async throws {
        try await TestServer.run { server in
            let client = try await server.connect()
            #expect(try await client.reply().description == "220 mail.example.test ESMTP")
            let hello = try await client.command("EHLO client.example")
            #expect(
                hello.lines == [
                    "mail.example.test", "PIPELINING", "SIZE 52428800", "STARTTLS", "8BITMIME", "ENHANCEDSTATUSCODES",
                    "CHUNKING", "BINARYMIME", "SMTPUTF8", "DSN", "LIMITS RCPTMAX=1000", "DELIVERBY 60", "VRFY", "HELP",
                ]
            )
            #expect(try await client.say("HELO client.example") == "250 mail.example.test")
            #expect(try await client.command("STARTTLS").code == .badSequence)
            #expect(try await client.command("EHLO client.example").code == .ok)
            #expect(try await client.say("STARTTLS") == "220 2.0.0 go ahead")
            try await client.startTLS()
            let again = try await client.command("EHLO client.example")
            #expect(again.lines.contains { $0.hasPrefix("AUTH SCRAM") && $0.hasSuffix(" PLAIN LOGIN") })
            #expect(!again.lines.contains("STARTTLS"))
            #expect(try await client.command("STARTTLS").code == .badSequence)
        }
    }

    @Test(
        arguments: [
            ("NOOP", "250 2.0.0 ok"),
            ("RSET", "250 2.0.0 ok"),
            ("VRFY bob", "252 2.0.0"),
            ("EXPN list", "502 5.5.1"),
            ("HELP", "214 2.0.0"),
            ("HELP BDAT", "214 2.0.0 BDAT octets [LAST]: so many octets of the message follow"),
            ("HELP XCLIENT", "504 5.5.4"),
            ("BDAT", "501 5.5.4"),
            ("BDAT x", "501 5.5.4"),
            ("BDAT -1", "501 5.5.4"),
            ("BDAT 0 LAST", "503 5.5.1 send MAIL first"),
            ("BDAT 999999999999999999999999", "501 5.5.4"),
            ("BDAT 99999999999999999999", "552 5.3.4"),
            ("LHLO client.example", "500 5.5.1"),
            ("XCLIENT ADDR=192.0.2.1", "550 5.7.1"),
            ("XCLIENT FOO=1", "501 5.5.4"),
            ("", "500 5.5.2"),
            ("DATA", "503 5.5.1"),
            ("RCPT TO:<bob@example.test>", "503 5.5.1"),
            ("MAIL FROM:carol", "501 5.1.7"),
            ("MAIL FROM:", "501 5.1.7"),
            ("MAIL FROM:<carol@example.net", "501 5.1.7"),
            ("MAIL FROM:carol@example.net>", "501"),
            ("MAIL FROM:<...@example.net>", "501 5.1.7"),
            ("MAIL FROM:<carol@example..net>", "501 5.1.7"),
            ("MAIL FROM:<carol@example.net> FOO=1", "555 5.5.4"),
            ("MAIL FROM:<carol@example.net> RET=FULL ENVID=a+2Bb", "250 2.1.0"),
            ("MAIL FROM:<carol@example.net> RET=ALL", "501 5.5.4"),
            ("MAIL FROM:<carol@example.net> ENVID=a+2", "501 5.5.4"),
            ("MAIL FROM:<carol@example.net> SMTPUTF8", "250 2.1.0"),
            ("MAIL FROM:<carol@example.net> SMTPUTF8=YES", "501 5.5.4"),
            ("MAIL FROM:<j\u{F6}rg@example.net> SMTPUTF8", "250 2.1.0"),
            ("MAIL FROM:<j\u{F6}rg@example.net>", "553 5.6.7"),
            ("MAIL FROM:<carol@example.net> BODY=BINARYMIME", "250 2.1.0"),
            ("MAIL FROM:<carol@example.net> BODY=9BIT", "501 5.5.4"),
            // Only under TLS, only for those who send for us.
            ("MAIL FROM:<carol@example.net> REQUIRETLS", "555 5.5.4"),
            ("MAIL FROM:<carol@example.net> HOLDFOR=60", "555 5.5.4"),
            ("MAIL FROM:<carol@example.net> MT-PRIORITY=3", "555 5.5.4"),
            ("MAIL FROM:<carol@example.net> BY=120;R", "250 2.1.0"),
            ("MAIL FROM:<carol@example.net> BY=59;R", "554 5.4.7"),
            ("MAIL FROM:<carol@example.net> BY=-5;R", "501 5.5.4"),
            ("MAIL FROM:<carol@example.net> BY=-5;NT", "250 2.1.0"),
            ("MAIL FROM:<carol@example.net> BY=5;X", "501 5.5.4"),
            ("MAIL FROM:<carol@example.net> BY=1234567890;N", "501 5.5.4"),
            ("MAIL FROM:<carol@example.net> SIZE=x", "501 5.5.4"),
            ("MAIL FROM:<carol@example.net> SIZE=52428801", "552 5.3.4"),
            ("MAIL FROM:<carol@example.net> SIZE=52428800 BODY=8BITMIME", "250 2.1.0"),
            ("MAIL FROM:<> AUTH=<>", "250 2.1.0"),
            ("EHLO", "501 5.5.4"),
            ("AUTH PLAIN", "538 5.7.11"),
            ("QUIT", "221 2.0.0"),
            ("NOOP \u{1}", "250"),
        ].dropLast()
    )
    func singleCommands(line: String, expected: String) async throws {
        try await TestServer.run { server in
            let client = try await server.greetedClient()
            #expect(try await client.say(line).hasPrefix(expected))
        }
    }

    @Test func helloComesFirst() async throws {
        try await TestServer.run { server in
            let client = try await server.connect()
            _ = try await client.reply()
            #expect(try await client.say("MAIL FROM:<carol@example.net>") == "503 5.5.1 send HELO or EHLO first")
        }
    }

    @Test func recipients() async throws {
        try await TestServer.run { server in
            let client = try await server.greetedClient()
            #expect(try await client.say("MAIL FROM:<carol@example.net>").hasPrefix("250"))
            #expect(try await client.say("MAIL FROM:<carol@example.net>") == "503 5.5.1 nested MAIL")
            #expect(try await client.say("DATA") == "554 5.5.1 no valid recipients")
            #expect(try await client.say("RCPT TO:<nobody@example.test>") == "550 5.1.1 no such mailbox")
            #expect(try await client.say("RCPT TO:<dave@example.com>") == "550 5.7.1 relaying denied")
            #expect(try await client.say("RCPT TO:<later@example.test>").hasPrefix("451 4.3.0"))
            #expect(try await client.say("RCPT TO:<full@example.test>").hasPrefix("452 4.2.2"))
            #expect(try await client.say("RCPT TO:<>").hasPrefix("501 5.1.3"))
            #expect(try await client.say("RCPT TO:<bob@example.test> NOTIFY=NEVER,SUCCESS").hasPrefix("501 5.5.4"))
            #expect(try await client.say("RCPT TO:<j\u{F6}rg@example.test>").hasPrefix("553 5.6.7"))
            #expect(try await client.say("RCPT TO:<@relay.example:bob@example.test>") == "250 2.1.5 ok")
            #expect(try await client.say("RCPT TO:<Postmaster>") == "250 2.1.5 ok")
            #expect(try await client.say("RCPT TO:<bob@EXAMPLE.test>") == "250 2.1.5 ok")
            #expect(try await client.command("DATA").code == .startMailInput)
            #expect(try await client.say("Subject: x\r\n\r\nx\r\n.").hasPrefix("250 2.0.0"))
            let message = try #require(server.queue.messages.first)
            #expect(message.envelope.all("recipient") == ["<bob@example.test>", "<postmaster@example.test>"])
            #expect(!message.text.contains("\tfor <"))
        }
    }

    /// What RFC 5321 forbids and people have all the same: their mail is taken, and nothing is changed about them.
    @Test(arguments: [
        ("<ken..ito@example.net>", "<ken..ito@example.net>"), ("<ken.@example.net>", "<ken.@example.net>"),
        ("<.ken@example.net>", "<.ken@example.net>"), ("<\"ken..ito\"@example.net>", "<\"ken..ito\"@example.net>"),
        ("carol@example.net", "<carol@example.net>"), (" carol@example.net SIZE=100", "<carol@example.net>"),
        ("ken..ito@example.net BODY=8BITMIME", "<ken..ito@example.net> BODY=8BITMIME"),
        ("<carol@example.net.>", "<carol@example.net>"),
    ])
    func irregularAddressesAreTaken(sender: String, kept: String) async throws {
        try await TestServer.run { server in
            let client = try await server.greetedClient()
            #expect(try await client.say("MAIL FROM:\(sender)") == "250 2.1.0 ok")
            #expect(try await client.say("RCPT TO:bob@example.test") == "250 2.1.5 ok")
            #expect(try await client.say("RCPT TO: <b..b.@example.test>") == "250 2.1.5 ok")
            #expect(try await client.say("RCPT TO:postmaster") == "250 2.1.5 ok")
            _ = try await client.command("DATA")
            #expect(try await client.say("Subject: x\r\n\r\nx\r\n.").hasPrefix("250 2.0.0"))
            let envelope = try #require(server.queue.messages.first?.envelope)
            #expect(envelope["sender"] == kept)
            let recipients = ["<bob@example.test>", "<b..b.@example.test>", "<postmaster@example.test>"]
            #expect(envelope.all("recipient") == recipients)
            // What was written can be read again.
            #expect(try EnvelopeSender(parsing: kept.utf8).description == kept)
            for recipient in recipients {
                #expect(try EnvelopeRecipient(parsing: recipient.utf8).description == recipient)
            }
        }
    }

    @Test func addressThatTheClientConnectedToIsOurs() async throws {
        try await TestServer.run { server in
            let client = try await server.greetedClient()
            _ = try await client.command("MAIL FROM:<carol@example.net>")
            #expect(try await client.say("RCPT TO:<postmaster@[127.0.0.1]>") == "250 2.1.5 ok")
            #expect(try await client.say("RCPT TO:<bob@[IPv6:::ffff:127.0.0.1]>") == "250 2.1.5 ok")
            #expect(try await client.say("RCPT TO:<postmaster@[127.0.0.2]>") == "550 5.7.1 relaying denied")
            _ = try await client.command("DATA")
            _ = try await client.say("Subject: x\r\n\r\nx\r\n.")
            let message = try #require(server.queue.messages.first)
            #expect(message.envelope.all("recipient") == ["<postmaster@example.test>", "<bob@example.test>"])
        }
    }

    @Test func recipientLimit() async throws {
        try await TestServer.run({ $0.settings.limits.recipients = 2 }) { server in
            let client = try await server.greetedClient()
            _ = try await client.command("MAIL FROM:<>")
            #expect(try await client.say("RCPT TO:<a@example.test>").hasPrefix("250"))
            #expect(try await client.say("RCPT TO:<b@example.test>").hasPrefix("250"))
            #expect(try await client.say("RCPT TO:<c@example.test>") == "452 4.5.3 too many recipients")
        }
    }

    @Test func positiveAnswersAreKeptForAWhile() async throws {
        try await TestServer.run({ $0.settings.recipientCache = .hours(1) }) { server in
            let client = try await server.greetedClient()
            _ = try await client.command("MAIL FROM:<>")
            for _ in 0..<3 {
                _ = try await client.command("RCPT TO:<a@example.test>")
                _ = try await client.command("RCPT TO:<nobody@example.test>")
            }
            let asked = server.questions.withLockedValue { $0.compactMap { $0["address"] } }
            #expect(asked.filter { $0 == "a@example.test" }.count == 1)
            #expect(asked.filter { $0 == "nobody@example.test" }.count == 3)
        }
    }

    @Test func trustedNetworksMayRelay() async throws {
        try await TestServer.run({ $0.settings.relayFrom = [AddressRange("127.0.0.0/8")].compactMap { $0 } }) {
            server in
            let client = try await server.greetedClient()
            _ = try await client.command("MAIL FROM:<>")
            #expect(try await client.say("RCPT TO:<dave@example.com>") == "250 2.1.5 ok")
        }
    }

    @Test func authdDown() async throws {
        try await TestServer.run({ $0.hasAuthority = false }) { server in
            let client = try await server.greetedClient()
            _ = try await client.command("MAIL FROM:<>")
            #expect(try await client.say("RCPT TO:<bob@example.test>").hasPrefix("451 4.3.0"))
            let user = try await server.greetedClient(.submissions)
            #expect(try await user.say("AUTH PLAIN AGFsaWNlAHNlY3JldA==").hasPrefix("454 4.7.0"))
        }
    }

    @Test func tooManyErrors() async throws {
        try await TestServer.run({ $0.settings.front.maximumErrors = 3 }) { server in
            let client = try await server.greetedClient()
            for _ in 0..<3 { #expect(try await client.say("FOO").hasPrefix("500")) }
            #expect(try await client.say("FOO") == "421 4.7.0 too many errors")
            #expect(await client.isClosed())
        }
    }

    @Test func longLinesAreRefusedWhole() async throws {
        try await TestServer.run { server in
            let client = try await server.greetedClient()
            let long = String(repeating: "x", count: 100_000)
            #expect(try await client.say("NOOP \(long)") == "500 5.5.2 line too long")
            #expect(try await client.say("NOOP") == "250 2.0.0 ok")
        }
    }

    @Test func silenceEndsTheSession() async throws {
        try await TestServer.run({ $0.settings.front.idleTimeout = .milliseconds(50) }) { server in
            let client = try await server.connect()
            _ = try await client.reply()
            #expect(try await client.reply().description.hasPrefix("421 4.4.2"))
            #expect(await client.isClosed())
        }
    }

    @Test func domainsThatAreRelayedAreTakenFromAnybody() async throws {
        for isChecked in [false, true] {
            try await TestServer.run({
                $0.settings.relayDomains = ["branch.example"]
                $0.settings.checksRecipients = isChecked
            }) { server in
                let client = try await server.greetedClient()
                #expect(try await client.say("MAIL FROM:<carol@example.net>").hasPrefix("250"))
                for _ in 1...2 {
                    #expect(try await client.say("RCPT TO:<ann@Branch.Example>") == "250 2.1.5 ok")
                    let gone = isChecked ? "550 5.1.1 the next hop does not take it" : "250 2.1.5 ok"
                    #expect(try await client.say("RCPT TO:<gone@branch.example>") == gone)
                    let later = isChecked ? "451 4.3.0" : "250"
                    #expect(try await client.say("RCPT TO:<later@branch.example>").hasPrefix(later))
                }
                #expect(try await client.say("RCPT TO:<ann@example.com>").hasPrefix("550 5.7.1"))
                // Yes and no are remembered, what nobody knows is not.
                let checks = server.questions.withLockedValue { $0.filter { $0.verb == "CHECK" }.count }
                #expect(checks == (isChecked ? 4 : 0))
            }
        }
    }

    /// A sender that was made for what is forwarded is for what comes back alone.
    @Test func returnPathsTakeReportsAlone() async throws {
        try await TestServer.run { server in
            for (sender, expected) in [("<>", "250 2.1.5 ok"), ("<carol@example.net>", "550 5.7.1 this address takes")]
            {
                let client = try await server.greetedClient()
                #expect(try await client.say("MAIL FROM:\(sender)").hasPrefix("250"))
                #expect(try await client.say("RCPT TO:<SRS0=return@example.test>").hasPrefix(expected))
            }
        }
    }

    @Test func theSessionAsAWholeHasItsTime() async throws {
        try await TestServer.run({ $0.settings.front.sessionTimeout = .milliseconds(100) }) { server in
            let client = try await server.connect()
            #expect(try await client.reply().code == .ready)
            var last = ""
            while let reply = try? await client.command("NOOP") { last = reply.description }
            #expect(last.hasPrefix("421 4.4.2"))
        }
    }

    @Test func talkingBeforeTheGreetingIsRefused() async throws {
        try await TestServer.run({ $0.settings.limits.greetingDelay = .milliseconds(500) }) { server in
            let client = try await server.connect()
            #expect(try await client.command("EHLO too.early").description.hasPrefix("554 5.5.1"))
            #expect(await client.isClosed())
            let patient = try await server.connect()
            #expect(try await patient.reply().code == .ready)
        }
    }

    @Test func connectionLimits() async throws {
        try await TestServer.run({ $0.settings.front.connections.perClient = 1 }) { server in
            let first = try await server.greetedClient()
            let second = try await server.connect()
            #expect(try await second.reply().description.hasPrefix("421 4.7.0 too many connections from"))
            #expect(await second.isClosed())
            #expect(try await first.command("QUIT").code == .closing)
        }
        try await TestServer.run({ $0.settings.front.connections.connections = 1 }) { server in
            let first = try await server.greetedClient()
            #expect(try await server.connect().reply().description.hasPrefix("421 4.7.0 too many connections,"))
            #expect(try await first.command("NOOP").code == .ok)
        }
    }

    @Test func shutdownIsAnnounced() async throws {
        try await TestServer.run { server in
            let client = try await server.greetedClient()
            async let done: Void = server.service.shutDown(grace: .seconds(5))
            #expect(try await client.reply().description.hasPrefix("421 4.3.2"))
            await done
        }
    }
}
