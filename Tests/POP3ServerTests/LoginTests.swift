import Bus
import NIOCore
import Network
import Testing

/// What the front says before a session begins.
@Suite struct LoginTests {
    // NUL bob NUL secret, and the same with a wrong password.
    private static let right = "AGJvYgBzZWNyZXQ="
    private static let wrong = "AGJvYgB3cm9uZw=="

    @Test func withoutTLSThereIsNoWayToLogIn() async throws {
        try await PostOffice.run({ $0.plaintext = false }) { (office) async throws in
            let client = try await office.client()
            let capabilities = try await client.ask("CAPA")
            #expect(capabilities.contains("STLS"))
            #expect(!capabilities.contains { $0.hasPrefix("SASL") || $0 == "USER" })
            for command in ["USER bob", "PASS secret", "AUTH PLAIN", "AUTH PLAIN \(Self.right)"] {
                #expect(try await client.say(command).hasPrefix("-ERR"))
            }
            #expect(try await client.say("NOOP").hasPrefix("-ERR"))
            #expect(try await client.say("QUIT").hasPrefix("+OK"))
            #expect(try await client.untilEnd() == "")
            client.connection.close()
        }
    }

    @Test func tlsMayComeFirst() async throws {
        try await PostOffice.run({ $0.plaintext = false }) { (office) async throws in
            let client = try await office.secureClient()
            #expect(!(try await client.ask("CAPA")).contains("STLS"))
            #expect(try await client.say("STLS").hasPrefix("-ERR"))
            #expect(try await client.say("USER bob").hasPrefix("+OK"))
            #expect(try await client.say("PASS secret").hasPrefix("+OK"))
            #expect(try await client.ask("LIST") == ["1 23", "2 31", "3 27"])
            client.connection.close()
        }
    }

    @Test(arguments: [
        (["AUTH PLAIN \(right)"], ["+OK"]), (["auth plain", right], ["+ ", "+OK"]),
        (["AUTH LOGIN", "Ym9i", "c2VjcmV0"], ["+ VXNlcm5hbWU6", "+ UGFzc3dvcmQ6", "+OK"]),
        (["AUTH PLAIN \(wrong)", "AUTH PLAIN \(right)"], ["-ERR [AUTH]", "+OK"]),
        (["AUTH PLAIN", "*", "NOOP"], ["+ ", "-ERR", "-ERR"]), (["AUTH PLAIN", "!"], ["+ ", "-ERR"]),
        (["AUTH PLAIN ="], ["-ERR"]), (["AUTH CRAM-MD5"], ["-ERR"]), (["AUTH"], ["-ERR"]),
        (["AUTH PLAIN", String(repeating: "A", count: 10_000), "CAPA"], ["+ ", "-ERR", "+OK"]),
        (["PASS secret"], ["-ERR"]), (["USER bob", "PASS wrong", "PASS secret"], ["+OK", "-ERR [AUTH]", "-ERR"]),
        (["USER", "USER \u{0}", "PASS"], ["-ERR", "-ERR", "-ERR"]),
    ])
    func exchanges(commands: [String], answers: [String]) async throws {
        try await PostOffice.run { (office) async throws in
            let client = try await office.client()
            for (command, answer) in zip(commands, answers) {
                let line = try await client.say(command)
                #expect(line.hasPrefix(answer), "\(command.prefix(40)): \(line)")
            }
            client.connection.close()
        }
    }

    /// Only a wrong password may be called one: clients forget it then.
    @Test(arguments: ["VERIFY", "REDEEM"], [("DEFER", "4.7.0"), ("REJECT", "5.7.1"), ("MAYBE", "2.0.0")])
    func troubleOfOursIsNoWrongPassword(verb: String, reply: (verb: String, status: String)) async throws {
        try await PostOffice.run {
            $0.answer = { frame, options in
                guard frame.verb == verb else { return PostOffice.answer(frame, options) }
                return Frame(reply.verb, ["tag": frame["tag"] ?? "", "status": reply.status, "text": "no"])
            }
        } _: { (office) async throws in
            let client = try await office.client()
            _ = try await client.say("USER bob")
            #expect(try await client.say("PASS secret").hasPrefix("-ERR [SYS/TEMP]"))
            client.connection.close()
        }
    }

    @Test func aTicketThatIsRefusedIsNoWrongPassword() async throws {
        try await PostOffice.run {
            $0.answer = { frame, options in
                var frame = frame
                if frame.verb == "REDEEM" { frame["ticket"] = "expired" }
                return PostOffice.answer(frame, options)
            }
        } _: { (office) async throws in
            let client = try await office.client()
            _ = try await client.say("USER bob")
            #expect(try await client.say("PASS secret").hasPrefix("-ERR [SYS/TEMP]"))
            client.connection.close()
        }
    }

    @Test func tooManyFaultsEndTheConnection() async throws {
        try await PostOffice.run { (office) async throws in
            let client = try await office.client()
            client.connection.write(String(repeating: "\u{1}\u{7f}garbage\r\n", count: 9))
            client.connection.write(String(repeating: "x", count: 100_000) + "\r\n")
            client.connection.write("CAPA\r\n")
            try await client.connection.flush()
            let lines = try await client.untilEnd().split(separator: "\r\n")
            #expect(lines.count == 10 && lines.allSatisfy { $0.hasPrefix("-ERR") })
            client.connection.close()
        }
    }

    @Test func tooManyConnectionsAreToldSo() async throws {
        try await PostOffice.run({ $0.connections = 1 }) { (office) async throws in
            let first = try await office.client()
            let second = try await Connection.connect(to: office.address, on: office.loop, timeout: .seconds(5))
            second.idleTimeout = .seconds(20)
            #expect(try await Client(connection: second).untilEnd().hasPrefix("-ERR [SYS/TEMP]"))
            second.close()
            #expect(try await first.say("QUIT").hasPrefix("+OK"))
            first.connection.close()
        }
    }

    @Test func octetsMayComeOneByOne() async throws {
        try await PostOffice.run { (office) async throws in
            let client = try await office.client()
            for octet in "USER bob\r\nPASS secret\r\nSTAT\r\n".utf8 {
                client.connection.write([octet])
                try await client.connection.flush()
            }
            #expect(try await client.line().hasPrefix("+OK"))
            #expect(try await client.line().hasPrefix("+OK"))
            #expect(try await client.line() == "+OK 3 81")
            client.connection.close()
        }
    }
}
