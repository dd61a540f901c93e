import Bus
import Daemon
import Front
import Milter
import NIOCore
import NIOPosix
import Network
import SMTP
import Testing

@testable import SMTPServer

/// Milters beside sessions: what they hear, what they change, and what becomes of mail when they fail.
@Suite struct MilterSessionTests {
    private static let message = "Received: from x\r\nSubject: hello\r\nTo: b\r\n\r\nThe body.\r\n"

    private typealias Script = @Sendable (Character, String) -> [ScriptedMilter.Act]?

    /// A server with milters of such scripts.
    private func run(
        _ scripts: [Script],
        steps: MilterSteps = [],
        actions: MilterActions = .all,
        change: @escaping @Sendable (inout MilterConfiguration) -> Void = { _ in },
        settings: @escaping @Sendable (inout ServerSettings) -> Void = { _ in },
        _ body: @escaping @Sendable (TestServer, [ScriptedMilter]) async throws -> Void
    ) async throws {
        let loop = MultiThreadedEventLoopGroup.singleton.next()
        var milters: [ScriptedMilter] = []
        for script in scripts {
            milters.append(try await ScriptedMilter(on: loop, steps: steps, actions: actions, script: script))
        }
        let made = milters
        try await TestServer.run { options in
            for (place, milter) in made.enumerated() {
                var configuration = MilterConfiguration(name: "m\(place)", .internet(milter.address))
                configuration.listeners = ["smtp", "submission", "lmtp"]
                change(&configuration)
                options.settings.milters.append(configuration)
            }
            settings(&options.settings)
        } _: { server in
            try await body(server, made)
        }
        for milter in made { await milter.stop() }
    }

    private func deliver(_ client: TestClient, _ message: String = message) async throws -> String {
        try await client.startMessage()
        return try await client.say(message + ".")
    }

    @Test func everyEventIsTold() async throws {
        try await run([{ _, _ in nil }]) { server, milters in
            let client = try await server.greetedClient()
            #expect(try await client.say("FROB x").hasPrefix("500"))
            #expect(try await client.say("MAIL FROM:<carol@example.net> SIZE=100 BODY=8BITMIME").hasPrefix("250"))
            #expect(try await client.say("RCPT TO:<bob@example.test> NOTIFY=NEVER").hasPrefix("250"))
            #expect(try await client.say("RCPT TO:<nobody@example.test>").hasPrefix("550 5.1.1"))
            #expect(try await client.command("DATA").code == .startMailInput)
            #expect(try await client.say(Self.message + ".").hasPrefix("250 2.0.0 queued as id"))
            #expect(try await client.say("QUIT").hasPrefix("221"))
            #expect(await client.isClosed())
            let heard = milters[0].heard.filter { !$0.hasPrefix("O") }
            #expect(heard[0].utf8.starts(with: "C[127.0.0.1]|4".utf8))
            #expect(heard[0].utf8.suffix(10).elementsEqual("127.0.0.1|".utf8))
            #expect(
                Array(heard[1...].prefix(10)) == [
                    "Hclient.example|", "UFROB x|", "M<carol@example.net>|SIZE=100|BODY=8BITMIME|",
                    "R<bob@example.test>|NOTIFY=NEVER|", "T", "LReceived|from x|", "LSubject|hello|", "LTo|b|", "N",
                    "BThe body.\r\n",
                ]
            )
            #expect(Array(heard[11...].prefix(1)) == ["E"])
            let macros = milters[0].macros("E")
            #expect(macros["i"] == server.queue.messages[0].id)
            #expect(macros["j"] == "mail.example.test")
            #expect(macros["{client_addr}"] == "127.0.0.1")
            #expect(macros["{client_port}"].flatMap { Int($0) } ?? 0 > 0)
            #expect(macros["{daemon_name}"] == "smtp")
            #expect(macros["_"] == "[127.0.0.1] [127.0.0.1]")
            #expect(macros["{cipher_bits}"] == nil)
            #expect(milters[0].macros("T")["i"] == server.queue.messages[0].id)
            #expect(milters[0].macros("M")["{mail_addr}"] == "carol@example.net")
            #expect(milters[0].macros("M")["{mail_mailer}"] == "martlet")
            #expect(milters[0].macros("M")["i"] == server.queue.messages[0].id)
            #expect(milters[0].macros("R")["i"] == server.queue.messages[0].id)
            #expect(milters[0].macros("H")["i"] == nil)
            #expect(milters[0].macros("C")["{client_connections}"] == "1")
            #expect(server.queue.messages[0].text.hasSuffix(Self.message))
            #expect(server.queue.messages[0].text.hasPrefix("Received: from client.example"))
        }
    }

    /// Who a stranger says has submitted the message is no login's.
    @Test func macrosOfUsers() async throws {
        try await run([{ _, _ in nil }]) { server, milters in
            let stranger = try await server.greetedClient()
            #expect(try await stranger.say("MAIL FROM:<carol@example.net> AUTH=ceo@example.test").hasPrefix("250"))
            #expect(milters[0].macros("M")["{auth_author}"] == nil)
            let user = try await server.submittingClient()
            #expect(try await user.say("MAIL FROM:<alice@example.test> AUTH=alice@example.test").hasPrefix("250"))
            let macros = milters[0].macros("M")
            #expect(macros["{auth_author}"] == "alice@example.test")
            #expect(macros["{auth_authen}"] == "alice@example.test")
            #expect(macros["{auth_type}"] == "PLAIN")
            #expect(macros["{tls_version}"] == "TLSv1.3")
            #expect(macros["{cipher_bits}"].flatMap { Int($0) } ?? 0 >= 128)
            #expect(macros["{cert_subject}"] == nil)
        }
    }

    /// A message that was refused, wherever, leaves its ID to no other one.
    @Test func eachMessageHasItsID() async throws {
        let script: Script = { letter, text in
            letter == "L" && text.contains("nasty") ? [.say("r")] : nil
        }
        try await run([script]) { server, milters in
            let client = try await server.greetedClient()
            var ids: [String] = []
            for subject in ["nasty", "fine", "nasty", "two\nbare", "fine"] {
                let answer = try await deliver(client, "Subject: \(subject)\r\n\r\nx\r\n")
                #expect(answer.hasPrefix(subject == "fine" ? "250" : "55"))
                ids.append(try #require(milters[0].macros("T")["i"]))
            }
            #expect(Set(ids).count == ids.count)
            #expect(server.queue.messages.map(\.id) == [ids[1], ids[4]])
        }
    }

    /// Milters have heard the ID of a transaction that came to nothing, too.
    @Test func idsOfTransactionsWithoutAMessage() async throws {
        let script: Script = { letter, text in letter == "M" && text.contains("nasty") ? [.say("r")] : nil }
        try await run([script]) { server, milters in
            let client = try await server.greetedClient()
            var ids: [String] = []
            for (sender, end) in [
                ("carol", "RSET"), ("nasty", nil), ("carol", "EHLO client.example"), ("carol", nil), ("carol", "RSET"),
            ] {
                let answer = try await client.say("MAIL FROM:<\(sender)@example.net>")
                #expect(answer.hasPrefix(sender == "nasty" ? "550" : "250"))
                ids.append(try #require(milters[0].macros("M")["i"]))
                if let end {
                    #expect(try await client.say(end).hasPrefix("250"))
                } else if sender != "nasty" {
                    #expect(try await client.say("RCPT TO:<bob@example.test>").hasPrefix("250"))
                    #expect(try await client.command("DATA").code == .startMailInput)
                    #expect(try await client.say(Self.message + ".").hasPrefix("250 2.0.0 queued as \(ids[3])"))
                }
            }
            #expect(Set(ids).count == ids.count)
            #expect(server.queue.messages.map(\.id) == [ids[3]])
        }
    }

    /// A queue-manager that was started anew meanwhile has another ID for the message.
    @Test func idOfAQueueThatWasAway() async throws {
        try await run([{ _, _ in nil }]) { server, milters in
            let client = try await server.greetedClient()
            #expect(try await client.say("MAIL FROM:<carol@example.net>").hasPrefix("250"))
            await server.stopQueue()
            try await server.startQueue()
            #expect(try await client.say("RCPT TO:<bob@example.test>").hasPrefix("250"))
            #expect(try await client.command("DATA").code == .startMailInput)
            #expect(try await client.say(Self.message + ".").hasPrefix("250 2.0.0 queued as"))
            #expect(milters[0].macros("T")["i"] == server.queue.messages[0].id)
        }
    }

    /// Also the ID of one that was refused before it began.
    @Test func idsOfWhatDATARefuses() async throws {
        try await run([{ letter, _ in letter == "T" ? [.say("t")] : nil }]) { server, milters in
            let client = try await server.greetedClient()
            var ids: [String] = []
            for _ in 0..<3 {
                #expect(try await client.say("MAIL FROM:<carol@example.net>").hasPrefix("250"))
                #expect(try await client.say("RCPT TO:<bob@example.test>").hasPrefix("250"))
                #expect(try await client.say("DATA").hasPrefix("451"))
                ids.append(try #require(milters[0].macros("T")["i"]))
            }
            #expect(Set(ids).count == 3)
        }
    }

    /// A proxy's client is another client: the milter hears of the connection anew, and of the name that the proxy gives.
    @Test func clientsOfProxies() async throws {
        let script: Script = { letter, text in letter == "H" && text.hasPrefix("bad") ? [.say("r")] : nil }
        try await run([script], settings: { $0.xclientFrom = [AddressRange("127.0.0.0/8")].compactMap { $0 } }) {
            server,
            milters in
            let client = try await server.greetedClient()
            milters[0].forget()
            #expect(try await client.say("XCLIENT ADDR=192.0.2.7 PORT=5 HELO=c.example").hasPrefix("220"))
            let heard = milters[0].heard.filter { !$0.hasPrefix("O") && !$0.hasPrefix("Q") }
            #expect(heard.first?.utf8.starts(with: "C[192.0.2.7]|4".utf8) == true)
            #expect(heard.dropFirst() == ["Hc.example|"])
            #expect(milters[0].macros("H")["{client_addr}"] == "192.0.2.7")
            #expect(try await client.say("XCLIENT ADDR=192.0.2.8 HELO=bad.example").hasPrefix("550 5.7.1"))
            #expect(try await client.say("MAIL FROM:<carol@example.net>").hasPrefix("503"))
            #expect(try await client.command("EHLO good.example").code == .ok)
            #expect(try await deliver(client).hasPrefix("250"))
        }
    }

    /// What a milter says in several lines stays several lines.
    @Test func longReplies() async throws {
        let long = "550-5.7.1 first\r\n550-5.7.1 second\r\n550 5.7.1 100%% third|"
        for stage: Character in ["C", "M", "R", "E"] {
            try await run([{ letter, _ in letter == stage ? [.say("y", long)] : nil }]) { server, _ in
                let client = try await server.connect()
                var reply = try await client.reply()
                let commands = [
                    "EHLO c.example", "MAIL FROM:<carol@example.net>", "RCPT TO:<bob@example.test>", "DATA", "x\r\n.",
                ]
                for command in commands where !reply.code.isPermanent { reply = try await client.command(command) }
                #expect(reply.lines == ["first", "second", "100% third"], "\(stage)")
                #expect(reply.code == (stage == "C" ? .transactionFailed : .mailboxUnavailable))
            }
        }
    }

    @Test func refusedRecipientsForThoseWhoAsk() async throws {
        try await run([{ _, _ in nil }], steps: [.refusedRecipients, .noHelo]) { server, milters in
            let client = try await server.greetedClient()
            #expect(try await client.say("MAIL FROM:<>").hasPrefix("250"))
            #expect(try await client.say("RCPT TO:<nobody@example.test>").hasPrefix("550 5.1.1"))
            #expect(milters[0].letters == "OCMR")
            #expect(milters[0].macros("R")["{rcpt_mailer}"] == "error")
            #expect(milters[0].macros("R")["{rcpt_host}"] == "5.1.1")
            #expect(milters[0].macros("H")["j"] == "mail.example.test")
        }
    }

    @Test func macrosThatAreAskedFor() async throws {
        let loop = MultiThreadedEventLoopGroup.singleton.next()
        let milter = try await ScriptedMilter(on: loop, macroList: "j {client_addr}")
        try await TestServer.run {
            $0.settings.milters = [MilterConfiguration(name: "m", .internet(milter.address))]
        } _: { server in
            _ = try await server.greetedClient()
            #expect(milter.macros("C") == ["j": "mail.example.test", "{client_addr}": "127.0.0.1"])
            #expect(milter.macros("H").count > 2)
        }
        await milter.stop()
    }

    @Test func whatIsNotWantedIsNotSent() async throws {
        let none: MilterSteps = [
            .noConnect, .noHelo, .noMail, .noRecipient, .noData, .noHeaders, .noEndOfHeader, .noBody, .noUnknown,
        ]
        try await run([{ _, _ in nil }], steps: none) { server, milters in
            let client = try await server.greetedClient()
            #expect(try await client.say("FROB").hasPrefix("500"))
            #expect(try await deliver(client).hasPrefix("250"))
            #expect(milters[0].letters == "OE")
        }
    }

    @Test func silenceIsNotWaitedFor() async throws {
        let silent: MilterSteps = [
            .silentConnect, .silentHelo, .silentMail, .silentRecipient, .silentData, .silentHeaders,
            .silentEndOfHeader, .silentBody, .silentUnknown,
        ]
        try await run([{ _, _ in nil }], steps: silent) { server, milters in
            let client = try await server.greetedClient()
            for _ in 1...2 { #expect(try await deliver(client).hasPrefix("250")) }
            #expect(milters[0].letters == "OCHMRTLLLNBEMRTLLLNBE")
        }
    }

    @Test func everyModification() async throws {
        try await run([
            { letter, _ in
                guard letter == "E" else { return nil }
                return [
                    .say("h", "X-Added|one\n two|"), .say("i", "X-Top|t|", number: 0),
                    .say("i", "X-First|f|", number: 1),
                    .say("m", "Subject|changed|", number: 1), .say("m", "To||", number: 1), .say("p"),
                    .say("+", "<alice@example.test>|"), .say("2", "<dave@example.test>|NOTIFY=NEVER|"),
                    .say("-", "<bob@example.test>|"), .say("e", "<other@example.net>|"), .say("b", "new\nbo"),
                    .say("b", "dy\r"), .say("b", "\nend"), .say("q", "why|"), .say("c"),
                ]
            }
        ]) { server, _ in
            let client = try await server.greetedClient()
            #expect(try await deliver(client).hasPrefix("250"))
            let message = server.queue.messages[0]
            #expect(message.envelope["sender"] == "<other@example.net>")
            #expect(
                message.envelope.fields.filter { $0.name == "recipient" }.map(\.value) == [
                    "<alice@example.test>", "<dave@example.test> NOTIFY=NEVER",
                ]
            )
            #expect(message.text.hasPrefix("X-Top: t\r\nX-First: f\r\nReceived: from client.example"))
            #expect(
                message.text.hasSuffix(
                    "\r\nReceived: from x\r\nSubject: changed\r\nX-Added: one\r\n two\r\n\r\nnew\r\nbody\r\nend"
                )
            )
        }
    }

    @Test func eachSeesWhatThoseBeforeItChanged() async throws {
        let first: Script = { letter, _ in
            letter == "E" ? [.say("h", "X-First|1|"), .say("b", "changed\r\n"), .say("a")] : nil
        }
        let second: Script = { letter, _ in letter == "E" ? [.say("m", "X-First|2|", number: 1), .say("c")] : nil }
        try await run([first, second]) { server, milters in
            let client = try await server.greetedClient()
            #expect(try await deliver(client).hasPrefix("250"))
            #expect(milters[0].heard.contains("BThe body.\r\n"))
            #expect(milters[1].heard.contains("Bchanged\r\n"))
            #expect(milters[1].heard.contains("LX-First|1|"))
            #expect(server.queue.messages[0].text.hasSuffix("X-First: 2\r\n\r\nchanged\r\n"))
        }
    }

    @Test func refusalsAtEachStage() async throws {
        let script: Script = { letter, text in
            switch letter {
            case "H" where text.hasPrefix("bad"): [.say("y", "550 5.7.1 bad name|")]
            case "M" where text.contains("spam"): [.say("r")]
            case "M" where text.contains("later"): [.say("t")]
            case "R" where text.contains("alice"): [.say("y", "550-5.7.9 not\r\n550 5.7.9 her|")]
            case "T" where text.isEmpty: nil
            case "L" where text.contains("nasty"): [.say("r")]
            case "N": nil
            case "B" where text.contains("virus"): [.say("y", "554 5.7.1 a virus|")]
            case "E": [.say("c")]
            default: nil
            }
        }
        try await run([script]) { server, _ in
            let client = try await server.greetedClient()
            #expect(try await client.say("EHLO bad.example") == "550 5.7.1 bad name")
            #expect(try await client.say("MAIL FROM:<carol@example.net>").hasPrefix("503"))
            #expect(try await client.command("EHLO good.example").code == .ok)
            #expect(try await client.say("MAIL FROM:<spam@example.net>") == "550 5.7.1 refused by a mail filter")
            #expect(try await client.say("MAIL FROM:<later@example.net>").hasPrefix("451 4.7.1"))
            #expect(try await client.say("MAIL FROM:<carol@example.net>").hasPrefix("250"))
            #expect(try await client.say("RCPT TO:<alice@example.test>") == "550 5.7.9 not her")
            #expect(try await client.say("RCPT TO:<bob@example.test>").hasPrefix("250"))
            #expect(try await client.command("DATA").code == .startMailInput)
            #expect(try await client.say("Subject: nasty\r\n\r\nx\r\n.").hasPrefix("550 5.7.1 refused by"))
            #expect(try await deliver(client, "Subject: x\r\n\r\na virus\r\n") == "554 5.7.1 a virus")
            #expect(try await deliver(client).hasPrefix("250"))
            #expect(server.queue.messages.count == 1)
        }
    }

    @Test func refusalOfDATA() async throws {
        try await run([{ letter, _ in letter == "T" ? [.say("r")] : nil }]) { server, _ in
            let client = try await server.greetedClient()
            #expect(try await client.say("MAIL FROM:<carol@example.net>").hasPrefix("250"))
            #expect(try await client.say("RCPT TO:<bob@example.test>").hasPrefix("250"))
            #expect(try await client.say("DATA").hasPrefix("550 5.7.1"))
            #expect(try await client.say("MAIL FROM:<carol@example.net>").hasPrefix("250"))
            #expect(try await client.say("RCPT TO:<bob@example.test>").hasPrefix("250"))
            try await client.send("BDAT 5 LAST\r\nhello")
            #expect(try await client.reply().description.hasPrefix("550 5.7.1"))
            #expect(try await client.say("NOOP").hasPrefix("250"))
        }
    }

    @Test func refusalOfTheConnection() async throws {
        for (reply, greeting) in [
            (ScriptedMilter.Act.say("r"), "554 5.7.1"), (.say("t"), "421 4.7.1"), (.say("4"), "421 4.7.0"),
            (.say("f"), "421 4.7.0"), (.say("y", "554 5.7.1 away|"), "554 5.7.1 away"),
        ] {
            try await run([{ letter, _ in letter == "C" ? [reply] : nil }]) { server, _ in
                let client = try await server.connect()
                #expect(try await client.reply().description.hasPrefix(greeting))
                #expect(await client.isClosed())
            }
        }
    }

    @Test func disconnectingLater() async throws {
        try await run([
            { letter, _ in letter == "R" ? [.say("y", "421 4.7.0 enough|")] : letter == "E" ? [.say("4")] : nil }
        ]) {
            server,
            _ in
            let client = try await server.greetedClient()
            #expect(try await client.say("MAIL FROM:<carol@example.net>").hasPrefix("250"))
            #expect(try await client.say("RCPT TO:<bob@example.test>") == "421 4.7.0 enough")
            #expect(await client.isClosed())
        }
    }

    @Test func acceptEndsAMilterInterest() async throws {
        try await run([{ letter, _ in letter == "R" ? [.say("a")] : nil }, { _, _ in nil }]) { server, milters in
            let client = try await server.greetedClient()
            for _ in 1...2 { #expect(try await deliver(client).hasPrefix("250")) }
            #expect(milters[0].letters == "OCHMRMR")
            #expect(milters[1].letters == "OCHMRTLLLNBEMRTLLLNBE")
        }
        try await run([{ letter, _ in letter == "C" ? [.say("a")] : nil }]) { server, milters in
            let client = try await server.greetedClient()
            #expect(try await deliver(client).hasPrefix("250"))
            while milters[0].letters != "OCQ" { await server.loop.pause(.milliseconds(5)) }
        }
        try await run([{ letter, _ in letter == "L" ? [.say("a")] : nil }]) { server, milters in
            let client = try await server.greetedClient()
            for _ in 1...2 { #expect(try await deliver(client).hasPrefix("250")) }
            #expect(milters[0].letters == "OCHMRTLMRTL")
        }
    }

    @Test func discarding() async throws {
        for stage in "MRTLNBE" {
            try await run([{ letter, _ in letter == stage ? [.say("d")] : nil }]) { server, _ in
                let client = try await server.greetedClient()
                #expect(try await deliver(client) == "250 2.0.0 ok")
                #expect(server.queue.messages.isEmpty)
                #expect(try await client.say("RSET").hasPrefix("250"))
            }
        }
        // Nobody is left to get it.
        try await run([{ letter, _ in letter == "E" ? [.say("-", "bob@example.test|"), .say("c")] : nil }]) {
            server,
            _ in
            let client = try await server.greetedClient()
            #expect(try await deliver(client) == "250 2.0.0 ok")
            #expect(server.queue.messages.isEmpty)
        }
    }

    @Test func skippingTheBody() async throws {
        let long = "Subject: x\r\n\r\n" + String(repeating: String(repeating: "x", count: 998) + "\r\n", count: 200)
        try await run([{ letter, _ in letter == "B" ? [.say("s")] : nil }], steps: [.skip]) { server, milters in
            let client = try await server.greetedClient()
            #expect(try await deliver(client, long).hasPrefix("250"))
            #expect(milters[0].letters == "OCHMRTLNBE")
            #expect(server.queue.messages[0].text.hasSuffix(long))
        }
        try await run([{ _, _ in nil }]) { server, milters in
            let client = try await server.greetedClient()
            #expect(try await deliver(client, long).hasPrefix("250"))
            let body = milters[0].heard.filter { $0.hasPrefix("B") }
            #expect(body.count == 4)
            #expect("Subject: x\r\n\r\n" + body.map { String($0.dropFirst()) }.joined() == long)
            #expect(server.queue.messages[0].text.hasSuffix(long))
        }
    }

    @Test func chunksGoTheSameWay() async throws {
        try await run([{ letter, _ in letter == "E" ? [.say("h", "X|y|"), .say("c")] : nil }]) { server, milters in
            let client = try await server.greetedClient()
            #expect(try await client.say("MAIL FROM:<carol@example.net>").hasPrefix("250"))
            #expect(try await client.say("RCPT TO:<bob@example.test>").hasPrefix("250"))
            try await client.send("BDAT 6\r\nA: b\r\n")
            #expect(try await client.reply().code == .ok)
            try await client.send("BDAT 6 LAST\r\n\r\nbody")
            #expect(try await client.reply().code == .ok)
            #expect(milters[0].letters == "OCHMRTLNBE")
            #expect(server.queue.messages[0].text.hasSuffix("A: b\r\nX: y\r\n\r\nbody"))
        }
    }

    /// Without a header, with a mailbox's line, and without a body.
    @Test func oddMessages() async throws {
        try await run([{ letter, _ in letter == "E" ? [.say("h", "X|y|"), .say("c")] : nil }]) { server, _ in
            let client = try await server.greetedClient()
            for (message, end) in [
                ("just text\r\n\r\nand more\r\n", "\r\nX: y\r\n\r\njust text\r\n\r\nand more\r\n"),
                (
                    "From alice Mon\r\nA: b\r\n\r\nbody\r\n",
                    "X-Mailbox-Line: From alice Mon\r\nA: b\r\nX: y\r\n\r\nbody\r\n"
                ),
                ("A: b\r\n", "\r\nA: b\r\nX: y\r\n"), ("\r\nbody\r\n", "\r\nX: y\r\n\r\nbody\r\n"),
                ("A: b\r\n\r\n", "\r\nA: b\r\nX: y\r\n\r\n"),
            ] {
                #expect(try await deliver(client, message).hasPrefix("250"))
                #expect(server.queue.messages.last?.text.hasSuffix(end) == true, "\(message)")
            }
        }
    }

    @Test func resetAbortsTheTransaction() async throws {
        try await run([{ _, _ in nil }]) { server, milters in
            let client = try await server.greetedClient()
            try await client.startMessage()
            #expect(try await client.say("x\r\n.").hasPrefix("250"))
            #expect(try await client.say("MAIL FROM:<carol@example.net>").hasPrefix("250"))
            #expect(try await client.say("RSET").hasPrefix("250"))
            #expect(try await client.say("MAIL FROM:<carol@example.net>").hasPrefix("250"))
            #expect(milters[0].letters.hasSuffix("EMAM"))
        }
    }

    // MARK: Failures

    private static let garbage: [ScriptedMilter.Act] = [
        .close, .raw([0, 0, 0, 0]), .raw([0xFF, 0xFF, 0xFF, 0xFF, 1]), .say("!"), .say("c", "more"),
        .say("y", "250 fine|"), .say("h", "X|y|"), .say("O"), .pause(.milliseconds(700)),
    ]

    /// Whatever a milter does instead of an answer, wherever: mail is deferred, refused or taken, and the session goes on.
    @Test(arguments: [MilterConfiguration.FailureAction.accept, .defer, .reject])
    func failuresAtEachStage(_ action: MilterConfiguration.FailureAction) async throws {
        for stage in "OCHMRTLNBE" {
            for fault in Self.garbage {
                // At the end of a message that is a change.
                if stage == "E", case .say("h", _, _) = fault { continue }
                try await run(
                    [{ letter, text in letter == stage && !text.contains("good") ? [fault] : nil }],
                    change: {
                        $0.onFailure = action
                        $0.connectTimeout = .milliseconds(150)
                        $0.commandTimeout = .milliseconds(150)
                        $0.messageTimeout = .milliseconds(150)
                    }
                ) { server, _ in
                    let client = try await server.greetedClient()
                    var replies: [ReplyCode] = []
                    for line in ["MAIL FROM:<carol@example.net>", "RCPT TO:<bob@example.test>", "DATA"] {
                        replies.append(try await client.command(line).code)
                        if replies.last?.isTransient == true || replies.last?.isPermanent == true { break }
                    }
                    if replies.last == .startMailInput {
                        replies.append(try await client.command(Self.message + ".").code)
                    }
                    let last = try #require(replies.last)
                    switch action {
                    case .accept: #expect(last == .ok, "\(stage) \(fault)")
                    case .defer: #expect(last == .localError, "\(stage) \(fault)")
                    case .reject: #expect(last == .transactionFailed, "\(stage) \(fault)")
                    }
                    #expect(server.queue.messages.count == (action == .accept ? 1 : 0))
                    #expect(try await client.say("NOOP").hasPrefix("250"))
                }
            }
        }
    }

    @Test func changesThatCannotBe() async throws {
        for act in [
            ScriptedMilter.Act.say("+", "not an address|"), .say("e", "<a@>|"), .say("2", "<a@b.test>|FROB=1|"),
            .say("-", "nobody|"), .say("b", String(repeating: "x", count: 300)), .say("s"),
        ] {
            try await run(
                [{ letter, _ in letter == "E" ? [.say("h", "X|y|"), act, .say("c")] : nil }],
                settings: { $0.limits.message = 200 }
            ) { server, _ in
                let client = try await server.greetedClient()
                #expect(try await deliver(client).hasPrefix("451 4.7.1"), "\(act)")
                #expect(server.queue.messages.isEmpty)
            }
        }
        // What it had not said that it would do.
        try await run(
            [{ letter, _ in letter == "E" ? [.say("q", "why|"), .say("c")] : nil }],
            actions: [.addHeaders]
        ) { server, _ in
            let client = try await server.greetedClient()
            #expect(try await deliver(client).hasPrefix("451 4.7.1"))
        }
    }

    /// Changes of one that fails before its last word are not made.
    @Test func halfOfTheChangesIsNone() async throws {
        try await run(
            [{ letter, _ in letter == "E" ? [.say("h", "X|y|"), .say("b", "other"), .close] : nil }],
            change: { $0.onFailure = .accept }
        ) { server, _ in
            let client = try await server.greetedClient()
            #expect(try await deliver(client).hasPrefix("250"))
            #expect(server.queue.messages[0].text.hasSuffix(Self.message))
        }
    }

    @Test func progressKeepsItAlive() async throws {
        let slow: Script = { letter, _ in
            letter == "E"
                ? [
                    .pause(.milliseconds(800)), .say("p"), .pause(.milliseconds(800)), .say("p"),
                    .pause(.milliseconds(800)), .say("c"),
                ]
                : nil
        }
        try await run([slow], change: { $0.messageTimeout = .seconds(2) }) { server, _ in
            let client = try await server.greetedClient()
            #expect(try await deliver(client).hasPrefix("250"))
        }
    }

    /// One that comes back is asked again, in the same session.
    @Test func nextMessageTriesAgain() async throws {
        try await run([{ letter, text in letter == "M" && text.contains("dies") ? [.close] : nil }]) {
            server,
            milters in
            let client = try await server.greetedClient()
            #expect(try await client.say("MAIL FROM:<dies@example.net>").hasPrefix("451 4.7.1"))
            #expect(try await deliver(client).hasPrefix("250"))
            #expect(milters[0].letters == "OCHMOCHMRTLLLNBE")
        }
    }

    /// One client waits for a milter that hangs, not all.
    @Test func hangingIsRemembered() async throws {
        try await run(
            [{ letter, _ in letter == "O" ? [.pause(.seconds(30))] : nil }],
            change: {
                $0.onFailure = .accept
                $0.connectTimeout = .seconds(4)
            }
        ) { server, milters in
            _ = try await server.greetedClient()
            _ = try await server.greetedClient()
            #expect(milters[0].connections == 1)
        }
    }

    @Test func nobodyListens() async throws {
        let loop = MultiThreadedEventLoopGroup.singleton.next()
        let gone = try await ScriptedMilter(on: loop)
        await gone.stop()
        for endpoint in [MilterConfiguration.Endpoint.internet(gone.address), .unix("/tmp/no-such-milter")] {
            try await TestServer.run {
                $0.settings.milters = [MilterConfiguration(name: "m", endpoint)]
            } _: { server in
                let client = try await server.greetedClient()
                #expect(try await client.say("MAIL FROM:<carol@example.net>").hasPrefix("451 4.7.1"))
                #expect(try await client.say("NOOP").hasPrefix("250"))
            }
        }
    }

    @Test func othersListenersAreLeftAlone() async throws {
        try await run([{ _, _ in nil }], change: { $0.listeners = ["submission"] }) { server, milters in
            let client = try await server.greetedClient()
            #expect(try await deliver(client).hasPrefix("250"))
            #expect(milters[0].connections == 0)
            let submitting = try await server.submittingClient()
            #expect(try await submitting.say("MAIL FROM:<alice@example.test>").hasPrefix("250"))
            let macros = milters[0].macros("M")
            #expect(macros["{auth_authen}"] == "alice@example.test")
            #expect(macros["{auth_type}"] == "PLAIN")
            #expect(macros["{tls_version}"]?.hasPrefix("TLSv1") == true)
            #expect(milters[0].letters == "OCHHM")
        }
    }

    @Test func keptConnections() async throws {
        try await run([{ _, _ in nil }], change: { $0.keepsConnections = true }) { server, milters in
            for _ in 1...3 {
                let client = try await server.greetedClient()
                #expect(try await deliver(client).hasPrefix("250"))
                #expect(try await client.say("QUIT").hasPrefix("221"))
                #expect(await client.isClosed())
            }
            while !milters[0].letters.hasSuffix("K") { await server.loop.pause(.milliseconds(5)) }
            #expect(milters[0].connections == 1)
            #expect(
                milters[0].letters
                    == String(repeating: "CHMRTLLLNBEK", count: 3).replacing("CHM", with: "OCHM", maxReplacements: 1)
            )
            // Where no message has ended, libmilter would not take another client.
            let client = try await server.greetedClient()
            #expect(try await client.say("QUIT").hasPrefix("221"))
            #expect(await client.isClosed())
            _ = try await server.greetedClient()
            #expect(milters[0].connections == 2)
        }
    }

    @Test func memoryHasALimit() async throws {
        try await run(
            [{ _, _ in nil }],
            settings: {
                $0.milterMemory = 100_000; $0.limits.message = 90_000
            }
        ) { server, _ in
            let client = try await server.greetedClient()
            let other = try await server.greetedClient()
            try await other.startMessage()
            let most = "A: b\r\n\r\n" + String(repeating: String(repeating: "x", count: 98) + "\r\n", count: 700)
            try await other.send(most)
            #expect(try await client.say("NOOP").hasPrefix("250"))
            #expect(try await deliver(client, most).hasPrefix("452 4.3.1"))
            #expect(try await other.say(".").hasPrefix("250"))
            #expect(try await deliver(client, most).hasPrefix("250"))
        }
    }

    @Test func headersOfTooManyFields() async throws {
        try await run([{ _, _ in nil }], steps: [.silentHeaders]) { server, _ in
            let client = try await server.greetedClient()
            #expect(try await deliver(client, String(repeating: "a:\r\n", count: 5001) + "\r\n").hasPrefix("552 5.3.4"))
            #expect(try await deliver(client, String(repeating: "a:\r\n", count: 5000) + "\r\n").hasPrefix("250"))
        }
    }

    /// LMTP has a reply for each recipient.
    @Test func lmtp() async throws {
        let answer = "550-5.7.1 no\r\n550 5.7.1 never|"
        try await run([{ letter, _ in letter == "E" ? [.say("y", answer)] : nil }]) { server, _ in
            let client = try await server.connect(.lmtp)
            #expect(try await client.reply().code == .ready)
            #expect(try await client.command("LHLO client.example").code == .ok)
            #expect(try await client.say("MAIL FROM:<carol@example.net>").hasPrefix("250"))
            for name in ["bob", "alice"] {
                #expect(try await client.say("RCPT TO:<\(name)@example.test>").hasPrefix("250"))
            }
            #expect(try await client.command("DATA").code == .startMailInput)
            #expect(try await client.command("x\r\n.").lines == ["<bob@example.test> no", "<bob@example.test> never"])
            #expect(try await client.reply().lines == ["<alice@example.test> no", "<alice@example.test> never"])
        }
    }
}
