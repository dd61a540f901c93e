import Bus
import Daemon
import Front
import MIME
import NIOCore
import Network
import SMTP
import Testing

@testable import SMTPServer

@Suite struct ExtensionSessionTests {
    private func extensions(_ client: TestClient, _ hello: String = "EHLO") async throws -> Set<String> {
        Set(
            try await client.command("\(hello) client.example").lines.dropFirst().map { $0.split(separator: " ")[0] }
                .map(String.init)
        )
    }

    /// Every extension can be switched off for a listener: then it's neither announced nor understood.
    @Test(
        arguments: [
            (ServiceExtension.chunking, "BDAT 0 LAST", "500 5.5.2"), (.dsn, "MAIL FROM:<a@b.example> RET=HDRS", "555"),
            (.size, "MAIL FROM:<a@b.example> SIZE=5", "555"),
            (.eightBitMIME, "MAIL FROM:<a@b.example> BODY=8BITMIME", "555"),
            (.binaryMIME, "MAIL FROM:<a@b.example> BODY=BINARYMIME", "555"),
            (.utf8, "MAIL FROM:<a@b.example> SMTPUTF8", "555"), (.utf8, "MAIL FROM:<\u{F6}@b.example>", "501"),
            (.deliverBy, "MAIL FROM:<a@b.example> BY=99;R", "555"), (.auth, "AUTH PLAIN", "502"),
            (.startTLS, "STARTTLS", "502"), (.verify, "VRFY bob", "252"), (.expand, "EXPN team@example.test", "502"),
            (.client, "XCLIENT ADDR=192.0.2.1", "500"), (.requireTLS, "MAIL FROM:<a@b.example> REQUIRETLS", "555"),
            (.futureRelease, "MAIL FROM:<a@b.example> HOLDFOR=5", "555"),
            (.priority, "MAIL FROM:<a@b.example> MT-PRIORITY=1", "555"),
            (.variableSender, "MAIL FROM:<a@b.example> XVERP", "555"), (.limits, "NOOP", "250"),
            (.help, "HELP", "502"),
            (.pipelining, "NOOP", "250"),
        ]
    )
    func extensionsCanBeSwitchedOff(which: ServiceExtension, line: String, expected: String) async throws {
        try await TestServer.run {
            $0.settings.relayFrom = [AddressRange("127.0.0.1")].compactMap { $0 }
            $0.settings.xclientFrom = $0.settings.relayFrom
        } _: { server in
            let client = try await server.greetedClient()
            let all = try await extensions(client)
            let hidden: Set<ServiceExtension> = [.auth, .requireTLS]
            #expect(all.contains(which.rawValue) == !hidden.contains(which))
        }
        try await TestServer.run {
            $0.settings.relayFrom = [AddressRange("127.0.0.1")].compactMap { $0 }
            $0.settings.xclientFrom = $0.settings.relayFrom
            var listener = SMTPListenerConfiguration()
            listener.disabledExtensions = [which]
            $0.settings.listeners[.smtp] = listener
        } _: { server in
            let client = try await server.greetedClient()
            #expect(!(try await extensions(client).contains(which.rawValue)))
            #expect(try await client.say(line).hasPrefix(expected))
            let other = try await server.greetedClient(.submission)
            #expect(try await extensions(other).contains("CHUNKING"))
        }
    }

    @Test func statusesCanBeLeftOut() async throws {
        try await TestServer.run {
            var listener = SMTPListenerConfiguration()
            listener.disabledExtensions = [.enhancedStatusCodes]
            $0.settings.listeners[.smtp] = listener
        } _: { server in
            let client = try await server.greetedClient()
            #expect(try await client.say("NOOP") == "250 ok")
        }
    }

    @Test func whatSendersWantGoesIntoTheQueue() async throws {
        try await TestServer.run { server in
            let client = try await server.submittingClient()
            let offered = try await extensions(client)
            #expect(offered.isSuperset(of: ["REQUIRETLS", "FUTURERELEASE", "MT-PRIORITY", "EXPN"]))
            let parameters = "RET=FULL ENVID=a+2Bb SMTPUTF8 REQUIRETLS BY=120;RT HOLDFOR=600 MT-PRIORITY=4 SIZE=100"
            let before = Int(DateTime.secondsNow())
            #expect(try await client.say("MAIL FROM:<alice@example.test> \(parameters)") == "250 2.1.0 ok")
            #expect(
                try await client.say("RCPT TO:<j\u{F6}rg@example.net> NOTIFY=SUCCESS,DELAY ORCPT=utf-8;\u{F6}@x")
                    .hasPrefix("250")
            )
            #expect(try await client.say("RCPT TO:<bob@example.test> NOTIFY=NEVER").hasPrefix("250"))
            #expect(try await client.command("DATA").code == .startMailInput)
            #expect(try await client.say("Subject: x\r\n\r\nx\r\n.").hasPrefix("250 2.0.0 queued"))
            let after = Int(DateTime.secondsNow())
            let message = try #require(server.queue.messages.first)
            #expect(
                message.envelope["sender"]
                    == "<alice@example.test> BODY=8BITMIME RET=FULL ENVID=a+2Bb SMTPUTF8 REQUIRETLS"
            )
            #expect(
                message.envelope.all("recipient") == [
                    "<j\u{F6}rg@example.net> NOTIFY=SUCCESS,DELAY ORCPT=utf-8;\\x{F6}@x",
                    "<bob@example.test> NOTIFY=NEVER",
                ]
            )
            #expect(message.envelope["priority"] == "4")
            let hold = try #require(message.envelope.integer("hold-until"))
            #expect((before + 600...after + 600).contains(hold))
            // Counted from when it leaves.
            #expect(message.envelope["deliver-by"] == "\(hold + 120) RT")
            #expect(message.envelope["protocol"] == "UTF8SMTPSA")
            #expect(message.text.contains("with UTF8SMTPSA id "))
        }
    }

    @Test(
        arguments: [
            ("HOLDFOR=2592001", "554 5.7.1"), ("HOLDUNTIL=2099-01-01T00:00:00Z", "554 5.7.1"),
            ("HOLDUNTIL=2001-01-01T00:00:00Z", "250"), ("HOLDFOR=5 HOLDFOR=5", "501"), ("MT-PRIORITY=10", "501"),
        ]
    )
    func termsOfSubmission(parameters: String, expected: String) async throws {
        try await TestServer.run { server in
            let client = try await server.submittingClient()
            #expect(try await client.say("MAIL FROM:<alice@example.test> \(parameters)").hasPrefix(expected))
        }
    }

    // MARK: Looking up

    @Test func addressesAreForThoseWhoMayKnow() async throws {
        try await TestServer.run { server in
            let stranger = try await server.greetedClient()
            #expect(try await stranger.say("VRFY bob@example.test").hasPrefix("252"))
            #expect(try await stranger.say("VRFY nobody@example.test").hasPrefix("252"))
            #expect(try await stranger.say("EXPN team@example.test").hasPrefix("502 5.5.1"))
            let user = try await server.submittingClient()
            #expect(try await user.say("VRFY bob@example.test") == "250 2.1.5 <bob@example.test>")
            #expect(try await user.say("VRFY <bob@example.test>") == "250 2.1.5 <bob@example.test>")
            #expect(try await user.say("VRFY bob") == "250 2.1.5 <bob@example.test>")
            #expect(try await user.say("VRFY nobody@example.test") == "550 5.1.1 no such mailbox")
            #expect(try await user.say("VRFY later@example.test").hasPrefix("451"))
            #expect(try await user.say("VRFY bob@example.net").hasPrefix("252"))
            #expect(try await user.say("VRFY @").hasPrefix("501"))
            #expect(try await user.say("EXPN bob@example.test") == "250 2.1.5 <bob@example.test>")
            // An alias of one mailbox.
            #expect(try await user.say("EXPN sales@example.test") == "250 2.1.5 <alice@example.test>")
            #expect(try await user.say("EXPN team@example.test").hasPrefix("553 5.6.7"))
            let list = try await user.command("EXPN team@example.test SMTPUTF8")
            #expect(list.lines == ["<alice@example.test>", "<j\u{F6}rg@example.net>"])
            #expect(try await user.say("EXPN bob@example.net").hasPrefix("550"))
        }
        try await TestServer.run {
            $0.settings.addressLookup = .nobody
        } _: { server in
            let user = try await server.submittingClient()
            #expect(try await user.say("VRFY bob@example.test").hasPrefix("252"))
            #expect(try await user.say("EXPN bob@example.test").hasPrefix("502"))
        }
    }

    @Test func helpNamesEveryCommandThatThereIs() async throws {
        try await TestServer.run { server in
            let client = try await server.greetedClient()
            let lines = try await client.command("HELP").lines
            let words = Set(lines.dropFirst().dropLast().map { $0.prefix { $0.isLetter } }.map(String.init))
            #expect(
                words == [
                    "HELO", "EHLO", "STARTTLS", "AUTH", "MAIL", "RCPT", "DATA", "BDAT", "RSET", "VRFY", "HELP", "NOOP",
                    "QUIT",
                ]
            )
            #expect(lines.allSatisfy { $0.utf8.count < 500 && $0.utf8.allSatisfy { $0 < 0x80 } })
        }
    }

    // MARK: Proxies

    private static let here = [AddressRange("127.0.0.0/8")].compactMap { $0 }

    @Test func trustedProxiesSayWhoTheClientIs() async throws {
        try await TestServer.run {
            $0.settings.xclientFrom = Self.here
            $0.settings.relayFrom = [AddressRange("192.0.2.0/24")].compactMap { $0 }
        } _: { server in
            let client = try await server.greetedClient()
            #expect(try await extensions(client).contains("XCLIENT"))
            #expect(
                try await client.say("XCLIENT ADDR=192.0.2.7 PORT=5 NAME=c.example HELO=c.example PROTO=ESMTP")
                    .hasPrefix("220 ")
            )
            #expect(try await client.command("EHLO c.example").code == .ok)
            #expect(try await client.say("MAIL FROM:<carol@example.net>").hasPrefix("250"))
            #expect(try await client.say("RCPT TO:<dave@example.com>").hasPrefix("250"))
            #expect(try await client.say("XCLIENT ADDR=192.0.2.8").hasPrefix("503"))
            #expect(try await client.chunk("a: b\r\n\r\nx", isLast: true).hasPrefix("250"))
            // The next client of the proxy, over the same connection.
            #expect(try await client.say("XCLIENT ADDR=IPv6:2001:db8::1 LOGIN=[UNAVAILABLE]").hasPrefix("220 "))
            #expect(try await client.command("EHLO d.example").code == .ok)
            #expect(try await client.say("MAIL FROM:<carol@example.net>").hasPrefix("250"))
            #expect(try await client.say("RCPT TO:<dave@example.com>").hasPrefix("550 5.7.1"))
            #expect(try await client.say("RSET").hasPrefix("250"))
            #expect(try await client.say("XCLIENT ADDR=nowhere").hasPrefix("501"))
            // Postfix sends on what the client has logged in with.
            #expect(try await client.say("XCLIENT ADDR=192.0.2.9 LOGIN=alice REVERSE_NAME=x").hasPrefix("220 "))
            #expect(try await client.say("XCLIENT ADDR=192.0.2.9 LOGIN=a@@b").hasPrefix("501"))
            #expect(try await client.say("XCLIENT ADDR=[UNAVAILABLE]").hasPrefix("501"))
            let message = try #require(server.queue.messages.first)
            #expect(message.envelope["client"] == "192.0.2.7")
            #expect(message.text.contains("from c.example ([192.0.2.7])"))
        }
    }

    private func proxied(_ body: @escaping @Sendable (TestServer) async throws -> Void) async throws {
        try await TestServer.run {
            var listener = SMTPListenerConfiguration()
            listener.proxies = Self.here
            $0.settings.listeners[.smtp] = listener
            $0.settings.listeners[.submissions] = listener
            $0.settings.front.connections.perClient = 2
        } _: {
            try await body($0)
        }
    }

    private static let binaryHeader: [UInt8] =
        [0x0D, 0x0A, 0x0D, 0x0A, 0x00, 0x0D, 0x0A, 0x51, 0x55, 0x49, 0x54, 0x0A, 0x21, 0x11, 0, 15]
        + [192, 0, 2, 9, 192, 0, 2, 25, 0xDC, 0x04, 0, 25] + [0x04, 0, 0]

    @Test func clientsOfAProxyAreThemselves() async throws {
        try await proxied { server in
            let text = Array("PROXY TCP4 192.0.2.9 192.0.2.25 56324 25\r\n".utf8)
            for header in [text, Self.binaryHeader] {
                let client = try await server.connect()
                // In pieces, and with what the client says behind it.
                for octet in header {
                    client.connection.write([octet])
                    try await client.connection.flush()
                }
                #expect(try await client.reply().code == .ready)
                #expect(try await client.command("EHLO c.example").code == .ok)
                #expect(try await client.say("MAIL FROM:<carol@example.net>").hasPrefix("250"))
                #expect(try await client.say("RCPT TO:<bob@[192.0.2.25]>").hasPrefix("250"))
                #expect(try await client.chunk("a: b\r\n\r\nx", isLast: true).hasPrefix("250"))
                #expect(try await client.say("QUIT").hasPrefix("221"))
                client.connection.close()
            }
            #expect(server.queue.messages.map { $0.envelope["client"] } == ["192.0.2.9", "192.0.2.9"])
        }
    }

    @Test func tlsBeginsBehindTheHeader() async throws {
        try await proxied { server in
            let client = try await server.connect(.submissions)
            try await client.send("PROXY TCP6 2001:db8::1 2001:db8::2 56324 465\r\n")
            try await client.startTLS()
            #expect(try await client.reply().code == .ready)
        }
    }

    /// Each client of a proxy has its own limit; the proxy has none.
    @Test func clientsOfAProxyAreCounted() async throws {
        try await proxied { server in
            var clients: [TestClient] = []
            for host in [1, 1, 2, 2, 3] {
                let client = try await server.connect()
                try await client.send("PROXY TCP4 192.0.2.\(host) 192.0.2.25 56324 25\r\n")
                #expect(try await client.reply().code == .ready)
                clients.append(client)
            }
            let third = try await server.connect()
            try await third.send("PROXY TCP4 192.0.2.1 192.0.2.25 56324 25\r\n")
            #expect(try await third.reply().code == .serviceNotAvailable)
            #expect(await third.isClosed())
            for client in clients { client.connection.close() }
        }
    }

    @Test(
        arguments: [
            "EHLO client.example\r\n", "PROXY UNKNOWN\r\n", "PROXY TCP4 192.0.2.9 192.0.2.25 56324\r\n",
            "PROXY TCP4 2001:db8::1 192.0.2.25 56324 25\r\n", "PROXY TCP4 192.0.2.9 192.0.2.25 565324 25\r\n",
            "PROXY TCP4 192.0.2.9 192.0.2.25 56324 25\n", "PROXY" + String(repeating: " ", count: 200),
            "\r\n\r\n\u{0}\r\nQUIT\nx", "\r\n\r\n\u{0}\r\nQUIT\n!!\u{7F}\u{7F}",
        ]
    )
    func otherWordsEndTheConnection(text: String) async throws {
        try await proxied { server in
            let client = try await server.connect()
            try await client.send(text)
            client.connection.endOutput()
            #expect(await client.isClosed())
        }
    }

    @Test func nobodyPassesByTheProxy() async throws {
        try await TestServer.run {
            var listener = SMTPListenerConfiguration()
            listener.proxies = [AddressRange("192.0.2.1")].compactMap { $0 }
            $0.settings.listeners[.smtp] = listener
        } _: { server in
            let client = try await server.connect()
            try await client.send("PROXY TCP4 192.0.2.9 192.0.2.25 56324 25\r\n")
            #expect(await client.isClosed())
        }
    }

    // MARK: LMTP

    /// The last chunk is the message's end, also where the message can't begin (RFC 2033 §4.2).
    @Test func aLastChunkThatCanNotBeginHasAReplyForEach() async throws {
        try await TestServer.run { server in
            for isLast in [true, false] {
                let client = try await server.connect(.lmtp)
                #expect(try await client.reply().code == .ready)
                #expect(try await client.command("LHLO client.example").code == .ok)
                if !isLast { try await server.startQueue() }
                #expect(try await client.say("MAIL FROM:<carol@example.net>").hasPrefix("250"))
                for name in ["bob", "alice"] {
                    #expect(try await client.say("RCPT TO:<\(name)@example.test>").hasPrefix("250"))
                }
                await server.stopQueue()
                try await client.send("BDAT 3\(isLast ? " LAST" : "")\r\nabc")
                for name in isLast ? ["<bob@example.test> ", "<alice@example.test> "] : [""] {
                    #expect(
                        try await client.reply().description == "451 4.3.0 \(name)queue not available, try again later"
                    )
                }
                #expect(try await client.say("NOOP").hasPrefix("250"))
            }
        }
    }

    @Test func eachRecipientHasItsReply() async throws {
        try await TestServer.run { server in
            let client = try await server.connect(.lmtp)
            #expect(try await client.reply().description == "220 mail.example.test LMTP")
            #expect(try await client.say("EHLO client.example").hasPrefix("500 5.5.1"))
            #expect(try await client.say("HELO client.example").hasPrefix("500 5.5.1"))
            let offered = try await extensions(client, "LHLO")
            #expect(offered.isSuperset(of: ["PIPELINING", "CHUNKING", "DSN", "SMTPUTF8", "SIZE"]))
            #expect(offered.isDisjoint(with: ["AUTH", "FUTURERELEASE"]))
            #expect(try await client.say("AUTH PLAIN").hasPrefix("502"))
            for isChunked in [false, true] {
                #expect(try await client.say("MAIL FROM:<carol@example.net>").hasPrefix("250"))
                #expect(try await client.say("RCPT TO:<bob@example.test>").hasPrefix("250"))
                #expect(try await client.say("RCPT TO:<nobody@example.test>").hasPrefix("550"))
                #expect(try await client.say("RCPT TO:<dave@example.com>").hasPrefix("550 5.7.1"))
                #expect(try await client.say("RCPT TO:<alice@example.test>").hasPrefix("250"))
                // The same once more has a reply once more (RFC 2033 §4.2).
                #expect(try await client.say("RCPT TO:<bob@example.test>").hasPrefix("250"))
                if isChunked {
                    #expect(try await client.chunk("a: b\r\n") == "250 2.0.0 6 octets")
                    try await client.send("BDAT 3 LAST\r\n\r\nx")
                } else {
                    #expect(try await client.command("DATA").code == .startMailInput)
                    try await client.send("a: b\r\n\r\nx\r\n.\r\n")
                }
                for name in ["bob", "alice", "bob"] {
                    #expect(
                        try await client.reply().description.hasPrefix("250 2.0.0 <\(name)@example.test> queued as id")
                    )
                }
            }
            #expect(server.queue.messages.map { $0.envelope.all("recipient").count } == [2, 2])
            #expect(server.queue.messages[0].envelope["protocol"] == "LMTP")
            #expect(try await client.say("MAIL FROM:<>").hasPrefix("250"))
            #expect(try await client.say("DATA").hasPrefix("503"))
            #expect(try await client.say("RCPT TO:<bob@example.test>").hasPrefix("250"))
            server.queue.set(.answer(.reply(.defer, status: "4.3.1", text: "full")))
            #expect(try await client.command("DATA").code == .startMailInput)
            #expect(try await client.say("a: b\r\n\r\nx\r\n.").hasPrefix("452 4.3.1 <bob@example.test>"))
        }
    }

    @Test func listenersAreConfigured() throws {
        let configuration = try Configuration(
            text: """
                hostname = "mail.example.test"
                [smtpd]
                lmtp = ["127.0.0.1:24", "run/lmtp.sock"]
                disabled-extensions = ["LIMITS"]
                xclient-from = ["192.0.2.1"]
                address-lookup = "nobody"
                maximum-hold = "1h"
                minimum-deliver-by = "90s"
                [smtpd.listener.submission]
                disabled-extensions = ["binarymime"]
                proxy-protocol = ["192.0.2.0/24"]
                """,
            file: "martlet.toml"
        )
        #expect(configuration.smtpd.lmtpSockets == ["run/lmtp.sock"])
        #expect(configuration.smtpd.lmtp.map(\.port) == [24])
        let settings = ServerSettings(configuration)
        #expect(settings.listeners[.smtp]?.disabledExtensions == [.limits])
        #expect(settings.listeners[.submission]?.disabledExtensions == [.limits, .binaryMIME])
        #expect(settings.listeners[.submission]?.proxies == [AddressRange("192.0.2.0/24")].compactMap { $0 })
        #expect(settings.listeners[.smtp]?.proxies == nil)
        #expect(settings.xclientFrom == [AddressRange("192.0.2.1")].compactMap { $0 })
        #expect(settings.addressLookup == .nobody)
        #expect(settings.limits.hold == 3600)
        #expect(settings.limits.deliverBy == 90)
        for wrong in ["disabled-extensions = [\"ETRN\"]", "lmtp = [\"/run/lmtp.sock\"]", "lmtp = [\"nowhere\"]"] {
            #expect(throws: ConfigurationError.self) {
                try Configuration(text: "hostname = \"a.example\"\n[smtpd]\n\(wrong)\n", file: "martlet.toml")
            }
        }
    }
}
