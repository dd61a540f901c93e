import Accounts
import Bus
import Logging
import NIOCore
import NIOPosix
import Network
import SMTP
import Testing

#if canImport(Glibc)
import Glibc
#endif

@Suite struct AccountsClientTests {
    /// Runs the body on a loop with a client of an authd that answers as the closure says.
    private func withAuthority<Value: Sendable>(
        _ answer: @escaping @Sendable (Frame) -> Frame,
        _ body: @escaping @Sendable (AccountsClient) async throws -> Value
    ) async throws -> Value {
        let path = "/tmp/martlet-accounts-\(UInt64.random(in: 0 ... .max)).sock"
        let loop = MultiThreadedEventLoopGroup.singleton.next()
        let server = BusServer(group: loop, logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
        try await server.answer(on: try UnixSocket.listen(path)) { frame, connection in
            var reply = answer(frame)
            reply["tag"] = frame["tag"]
            connection.write(reply)
        }
        defer { unlink(path) }
        let result = await Task(executorPreference: LoopExecutor.of(loop)) { () -> Result<Value, any Error> in
            let client = AccountsClient(path: path, on: loop)
            defer { client.close() }
            do { return .success(try await body(client)) } catch { return .failure(error) }
        }.value
        await server.shutDown(grace: .seconds(2))
        return try result.get()
    }

    @Test func verifiedLoginHasATicket() async throws {
        let login = try await withAuthority { frame in
            guard frame.verb == "VERIFY", frame["service"] == "pop3", frame["password"] == "a\nb%" else {
                return .reply(.reject, status: "5.7.8")
            }
            return .ok(tag: nil, [.init("address", "alice@example.test"), .init("ticket", "3f6c")])
        } _: {
            try await $0.verify(service: .pop3, user: "alice", password: "a\nb%", client: "192.0.2.7")
        }
        #expect(login.address == "alice@example.test" && login.ticket == "3f6c")
    }

    @Test func refusedAndDeferredAreTold() async throws {
        await #expect(throws: AccountsError.refused(status: .badCredentials, text: "no")) {
            try await withAuthority { _ in
                .reply(.reject, status: "5.7.8", text: "no")
            } _: {
                _ = try await $0.redeem(ticket: "x", service: .imap)
            }
        }
        await #expect(throws: AccountsError.deferred(status: .refusedForNow, text: "later")) {
            try await withAuthority { _ in
                .reply(.defer, status: "4.7.0", text: "later")
            } _: {
                _ = try await $0.recipient("alice@example.test")
            }
        }
    }

    @Test func questionsSayWhatTheyAreAbout() async throws {
        let answers = try await withAuthority { frame in
            switch (frame.verb, frame["address"], frame["expanded"]) {
            case ("RECIPIENT", "postmaster", nil):
                .ok(tag: nil, [.init("kind", "local"), .init("address", "postmaster@example.test")])
            case ("EXPAND", "bob@example.test", "yes"): .ok(tag: nil, [.init("forward", "kept@example.test")])
            case ("EXPAND", "bob@example.test", nil): .ok(tag: nil, [.init("forward", "away@example.net")])
            case ("FULL", "bob@example.test", nil): .ok(tag: nil)
            default: .reply(.reject, status: "5.5.4")
            }
        } _: { client in
            try await client.isFull("bob@example.test")
            return (
                try await client.postmaster(), try await client.expand("bob@example.test"),
                try await client.expand("bob@example.test", isExpanded: true)
            )
        }
        #expect(answers.0 == "postmaster@example.test")
        #expect(answers.1 == .forward(["away@example.net"]) && answers.2 == .forward(["kept@example.test"]))
    }

    @Test func nonsenseIsUnavailable() async throws {
        for reply in [
            Frame("MAYBE"), .ok(), .ok(tag: nil, [.init("address", "a@b"), .init("quota", "-1")]),
            .reply(.reject, status: "5.7.1", text: "not allowed for this user"),
            .reply(.reject, status: "5.5.1", text: "unknown verb"),
        ] {
            await #expect {
                try await withAuthority { _ in
                    reply
                } _: {
                    _ = try await $0.redeem(ticket: "x", service: .pop3)
                }
            } throws: { error in
                if case AccountsError.unavailable = error { true } else { false }
            }
        }
    }

    @Test func expansionIsAMailboxOrAddresses() async throws {
        let expansions = try await withAuthority { frame in
            if frame["address"] == "team@example.test" {
                return .ok(tag: nil, [.init("forward", "a@example.net"), .init("forward", "b@example.net")])
            }
            return .ok(
                tag: nil,
                [
                    .init("address", "bob@example.test"), .init("mailbox", "example.test/bob"),
                    .init("format", "mbox"), .init("quota", "1024"), .init("extension", "lists"),
                ]
            )
        } _: {
            [try await $0.expand("team@example.test"), try await $0.expand("bob+lists@example.test")]
        }
        #expect(expansions.first == .forward(["a@example.net", "b@example.net"]))
        guard case .mailbox(let mailbox, let rest) = expansions.last else {
            Issue.record("not a mailbox")
            return
        }
        #expect(rest == "lists")
        #expect(mailbox.mailbox == "example.test/bob" && mailbox.format == "mbox" && mailbox.quota == 1024)
    }

    @Test func nobodyThereIsUnavailable() async throws {
        let loop = MultiThreadedEventLoopGroup.singleton.next()
        let isUnavailable = await Task(executorPreference: LoopExecutor.of(loop)) {
            do {
                _ = try await AccountsClient(path: "/nonexistent/auth.sock", on: loop).recipient("a@example.test")
                return false
            } catch AccountsError.unavailable {
                return true
            } catch {
                return false
            }
        }.value
        #expect(isUnavailable)
    }
}
