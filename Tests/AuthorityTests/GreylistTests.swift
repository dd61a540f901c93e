import Bus
import Logging
import NIOCore
import NIOPosix
import Testing

@testable import Authority

@Suite struct GreylistTests {
    private static let now = TestAuthority.now
    private static let client: [UInt8] = [192, 0, 2, 7]

    private func ask(
        _ list: inout Greylist,
        client: [UInt8] = client,
        sender: String = "ann@example.net",
        recipient: String = "bob@example.test",
        identities: [String] = [],
        after seconds: Int = 0
    ) -> Greylist.Answer {
        list.ask(
            client: client,
            sender: sender,
            recipient: recipient,
            identities: identities,
            now: Self.now + seconds
        )
    }

    private func list(_ change: (inout GreylistSettings) -> Void = { _ in }) -> Greylist {
        var settings = GreylistSettings()
        change(&settings)
        return Greylist(settings)
    }

    private func allow(_ list: inout Greylist, _ name: String) -> Bool { list.allow(name, now: Self.now) }

    private func remove(_ list: inout Greylist, _ name: String) -> Int { list.remove(name) }

    @Test func whoComesBackPasses() {
        var list = list()
        #expect(ask(&list) == .wait(300))
        #expect(ask(&list, after: 100) == .wait(200))
        // From another host of the same network, in another spelling.
        #expect(
            ask(&list, client: [192, 0, 2, 99], sender: "Ann@Example.NET", recipient: "BOB@example.test", after: 300)
                == .pass(.triplet)
        )
        #expect(ask(&list, after: 301) == .pass(.triplet))
        #expect(ask(&list, client: [192, 0, 3, 7], after: 302) == .wait(300))
        #expect(ask(&list, sender: "eve@example.net", after: 302) == .wait(300))
        #expect(ask(&list, recipient: "carol@example.test", after: 302) == .wait(300))
    }

    @Test func whoComesBackTooLateIsNew() {
        var list = list()
        #expect(ask(&list) == .wait(300))
        #expect(ask(&list, after: 2 * 86_400 + 1) == .wait(300))
        #expect(ask(&list, after: 2 * 86_400 + 301) == .pass(.triplet))
        // It's remembered from its last mail on.
        #expect(ask(&list, after: 30 * 86_400) == .pass(.triplet))
        #expect(ask(&list, after: 60 * 86_400) == .pass(.triplet))
        #expect(ask(&list, after: 97 * 86_400) == .wait(300))
    }

    @Test func sendersOfListsAreOne() {
        var list = list()
        #expect(ask(&list, sender: "list+bounce-1234-bob@example.net") == .wait(300))
        #expect(ask(&list, sender: "list+bounce-77@example.net", after: 300) == .pass(.triplet))
        #expect(ask(&list, sender: "return-12-34@example.net") == .wait(300))
        #expect(ask(&list, sender: "return-7-999@example.net", after: 300) == .pass(.triplet))
    }

    @Test func networksPassByTheirTriplets() {
        var list = list { $0.networkPasses = 2 }
        for sender in ["a@example.net", "b@example.net"] {
            _ = ask(&list, sender: sender)
            #expect(ask(&list, sender: sender, after: 300) == .pass(.triplet))
        }
        // A triplet counts once.
        #expect(ask(&list, sender: "c@example.net", after: 301) == .pass(.network))
        #expect(ask(&list, client: [192, 0, 3, 1], sender: "c@example.net", after: 301) == .wait(300))
        var other = self.list { $0.networkPasses = 2 }
        _ = ask(&other)
        for second in 300...310 { #expect(ask(&other, after: second) == .pass(.triplet)) }
        #expect(ask(&other, sender: "c@example.net", after: 311) == .wait(300))
    }

    @Test func networksOfIPv6AreOf64Bits() {
        let address: [UInt8] = [0x20, 0x01, 0x0D, 0xB8, 0, 0, 0, 1] + [UInt8](repeating: 7, count: 8)
        #expect(Greylist.network(of: address) == "2001:db8:0:1::/64")
        #expect(Greylist.network(of: Self.client) == "192.0.2.0/24")
    }

    @Test func domainsPassByWhatWasTaken() {
        var list = list { $0.identityPasses = 2 }
        list.accepted(identities: ["Example.net", "example.net"], now: Self.now)
        #expect(ask(&list, identities: ["example.net"]) == .wait(300))
        list.accepted(identities: ["example.net"], now: Self.now)
        #expect(ask(&list, client: [203, 0, 113, 1], identities: ["EXAMPLE.net"]) == .pass(.identity))
        #expect(ask(&list, client: [203, 0, 113, 1], identities: ["example.org"]) == .wait(300))
    }

    @Test func administratorLetsPass() throws {
        var list = list()
        #expect(allow(&list, "203.0.113.0/25"))
        #expect(allow(&list, "example.org"))
        for wrong in ["", "203.0.113.1/24", "a@b.example", "local", "a b.example"] {
            #expect(!allow(&list, wrong))
        }
        #expect(ask(&list, client: [203, 0, 113, 1]) == .pass(.administrator))
        #expect(ask(&list, client: [203, 0, 113, 200]) == .wait(300))
        #expect(ask(&list, identities: ["example.org"], after: 400 * 86_400) == .pass(.administrator))
        #expect(remove(&list, "203.0.113.0/25") == 1)
        #expect(ask(&list, client: [203, 0, 113, 1]) == .wait(300))
        _ = ask(&list)
        #expect(remove(&list, "ann@example.net") == 2)
        #expect(list.entries.count == 1)
    }

    @Test func memoryIsBounded() {
        var list = list {
            $0.capacity = 200
            $0.capacityPerNetwork = 60
        }
        _ = ask(&list, client: [203, 0, 113, 1])
        #expect(ask(&list, client: [203, 0, 113, 1], after: 300) == .pass(.triplet))
        for number in 0..<200 {
            let letter = String(repeating: "x", count: number + 1)
            _ = ask(&list, sender: "\(letter)@example.net", after: 300)
            #expect(list.records.count <= 200)
        }
        // One network doesn't take all of it.
        #expect(list.records.count == 62)
        for number in 0..<200 {
            _ = ask(&list, client: [198, 51, UInt8(number), 1], after: 301 + number)
            #expect(list.records.count <= 200)
        }
        // Those who came back outlive those who didn't.
        #expect(ask(&list, client: [203, 0, 113, 1], after: 600) == .pass(.triplet))
        // What waits no longer makes room for the network again.
        #expect(ask(&list, sender: "new@example.net", after: 4 * 86_400) == .wait(300))
        #expect(ask(&list, sender: "new@example.net", after: 4 * 86_400 + 300) == .pass(.triplet))
    }

    /// A host that sends with a new sender each time keeps no neighbour out.
    @Test func aNeighbourKeepsNobodyOut() {
        var list = list { $0.capacityPerNetwork = 60 }
        #expect(ask(&list, client: [192, 0, 2, 8], sender: "first@example.net") == .wait(300))
        func flood(after seconds: Int) {
            for number in 0..<200 {
                let letter = String(repeating: "x", count: number % 90 + 1)
                _ = ask(&list, sender: "\(letter)@\(seconds)-\(number / 90).example", after: seconds)
            }
        }
        flood(after: 1)
        #expect(list.records.count == 60)
        #expect(ask(&list, client: [192, 0, 2, 9], sender: "late@example.org", after: 2) == .wait(300))
        flood(after: 3)
        #expect(list.records.count == 60)
        #expect(ask(&list, client: [192, 0, 2, 8], sender: "first@example.net", after: 310) == .pass(.triplet))
        #expect(ask(&list, client: [192, 0, 2, 9], sender: "late@example.org", after: 310) == .pass(.triplet))
        // Those that wait are counted right after some have passed and some have expired.
        list.expire(now: Self.now + 3 * 86_400)
        #expect(list.records.count == 3)
        flood(after: 3 * 86_400)
        #expect(list.records.count == 63)
    }

    /// Somebody's /48 has 65,536 networks of /64.
    @Test func aCustomersIPv6IsOneNetwork() {
        var list = list { $0.capacityPerNetwork = 60 }
        for number in 0..<200 {
            let address: [UInt8] = [0x20, 0x01, 0x0D, 0xB8, 0, 5, 0, UInt8(number)] + [UInt8](repeating: 1, count: 8)
            _ = ask(&list, client: address)
        }
        #expect(list.records.count == 60)
        #expect(ask(&list, client: [0x20, 0x01, 0x0D, 0xB8, 0, 6] + [UInt8](repeating: 1, count: 10)) == .wait(300))
        #expect(list.records.count == 61)
    }

    /// Who sends by a domain of his own for each message doesn't push out those who wait.
    @Test func madeUpDomainsHaveTheirOwnRoom() {
        var list = list { $0.capacity = 100 }
        for _ in 0..<2 { list.accepted(identities: ["known.example"], now: Self.now) }
        _ = ask(&list)
        for number in 0..<500 { list.accepted(identities: ["d\(number).example"], now: Self.now + number) }
        #expect(list.records.count <= 22)
        #expect(ask(&list, after: 500) == .pass(.triplet))
        #expect(ask(&list, client: [203, 0, 113, 9], identities: ["known.example"], after: 500) == .pass(.identity))
        // Nor do many networks.
        for number in 0..<300 {
            let client: [UInt8] = [198, 51, UInt8(number % 250), 1]
            _ = ask(&list, client: client, sender: "s@d\(number).example", after: 600)
            _ = ask(&list, client: client, sender: "s@d\(number).example", after: 900)
            #expect(list.records.count <= 100)
        }
        #expect(ask(&list, client: [203, 0, 113, 9], identities: ["known.example"], after: 901) == .pass(.identity))
    }

    /// A clock that was ahead leaves nobody waiting until it's that time again.
    @Test func theClockIsPutBack() {
        let year = 365 * 86_400
        var list = list()
        #expect(ask(&list, after: year) == .wait(300))
        #expect(ask(&list, after: 0) == .wait(300))
        #expect(ask(&list, after: 299) == .wait(1))
        #expect(ask(&list, after: 300) == .pass(.triplet))
        // Nor does it outlive what is known of others.
        #expect(ask(&list, sender: "eve@example.net", after: year) == .wait(300))
        list.expire(now: Self.now + 301)
        #expect(list.records.values.allSatisfy { $0.last <= Self.now + 301 })
        list.expire(now: Self.now + 301 + 2 * 86_400 + 1)
        #expect(ask(&list, sender: "eve@example.net", after: 5 * 86_400) == .wait(300))
    }

    /// A file with more than there is room for: what the administrator lets pass stays.
    @Test func aSmallerCapacity() {
        var list = list { $0.capacity = 100 }
        var lines = (0..<500).map { "triplet\t192.0.\($0 % 250).0/24\ta\t\($0)\t\(Self.now)\t\(Self.now + $0)\t0" }
        lines += ["domain\texample.org\t1\t1\t-1", "network\t203.0.113.0/24\t1\t1\t-9000000000000000000"]
        lines.append("domain\tgreedy.example\t1\t\(Self.now + 500)\t\(Int.max)")
        #expect(list.read(Array(lines.joined(separator: "\n").utf8)) == 503)
        #expect(list.records.count <= 63)
        #expect(list.records[.identity("example.org")]?.isPermanent == true)
        #expect(ask(&list, client: [203, 0, 113, 1]) == .pass(.administrator))
        list.accepted(identities: ["greedy.example"], now: Self.now + 501)
        #expect(ask(&list, identities: ["greedy.example"], after: 501) == .pass(.identity))
    }

    /// What can't be written is not remembered a second time without end.
    @Test func changesAreBounded() {
        var list = list { $0.capacity = 1000 }
        for number in 0..<3000 {
            _ = ask(&list, client: [198, UInt8(number / 250), UInt8(number % 250), 1], after: number)
            #expect(list.changed.count <= 1000)
        }
        #expect(list.isAllChanged)
        list.forgetChanges()
        #expect(allow(&list, "example.org"))
        #expect(list.changed.count == 1 && !list.isAllChanged)
    }

    @Test func linesBringItBack() {
        var list = list()
        _ = ask(&list)
        _ = ask(&list, after: 300)
        _ = ask(&list, sender: "odd\tname@example.net")
        _ = list.allow("example.org", now: Self.now)
        var lines = list.changedLines
        list.forgetChanges()
        #expect(list.changedLines.isEmpty)
        _ = list.remove("example.org")
        lines += list.changedLines + ["triplet\t192.0.2.0/24\ttorn", "network\tx\ty\tz\tw", ""]
        var read = self.list()
        for line in lines { read.read(line[...]) }
        #expect(read.records == list.records)
        #expect(ask(&read, after: 301) == .pass(.triplet))
    }

    // MARK: The store

    @Test func storeOutlivesAuthd() async throws {
        try await TestAuthority.run(more: "[authd.greylist]\nwait = \"0s\"\n") { authority in
            let question = Frame(
                "GREYLIST",
                ["client": "192.0.2.7", "sender": "ann@example.net", "recipient": "bob@example.test"]
            )
            #expect(try await authority.client.request(question)["wait"] == "0")
            #expect(try await authority.client.request(question)["by"] == "triplet")
            let accepted = Frame("GREYLIST", ["accepted": "yes", "identity": "example.net"])
            #expect(try await authority.client.request(accepted).replyKind == .ok)
            #expect(
                try await authority.client.request(Frame("GREYLIST-PASS", ["name": "example.org"])).replyKind == .ok
            )
            #expect(try await authority.client.request(Frame("GREYLIST-PASS", ["name": "?"])).replyKind == .reject)
            while Greylist(reading: authority.directory.path, GreylistSettings())?.entries.count != 4 {
                try await authority.loop.scheduleTask(in: .milliseconds(5)) {}.futureResult.get()
            }
            let removed = try await authority.client.request(Frame("GREYLIST-REMOVE", ["name": "example.org"]))
            #expect(removed["count"] == "1")
            while Greylist(reading: authority.directory.path, GreylistSettings())?.entries.count != 3 {
                try await authority.loop.scheduleTask(in: .milliseconds(5)) {}.futureResult.get()
            }
            #expect(try await authority.client.request(Frame("GREYLIST", ["client": "x"])).replyKind == .reject)
        }
    }

    @Test func fileIsWrittenAnewWhenItHasGrown() async throws {
        try await TemporaryDirectory.with { directory in
            let loop = MultiThreadedEventLoopGroup.singleton.next()
            let pool = NIOThreadPool(numberOfThreads: 1)
            pool.start()
            let log = LogRecord()
            directory.write("salt-key", "x".utf8)
            let line = "triplet\t192.0.2.0/24\ta@example.net\tb@example.test\t\(Self.now)\t\(Self.now)\t1\n"
            directory.write("greylist", (String(repeating: line, count: 3000) + "triplet\ttor").utf8)
            let path = directory.path
            let store = try await loop.submit {
                GreylistStore(
                    directory: path,
                    settings: GreylistSettings(),
                    on: loop,
                    pool: pool,
                    logger: Logger(label: "test") { _ in log }
                )
            }.get()
            try await loop.submit { _ = store.allow("example.org", now: Self.now) }.get()
            try await loop.flatSubmit { store.saveLast() }.get()
            let text = String(decoding: directory.read("greylist"), as: UTF8.self)
            #expect(
                Set(text.split(separator: "\n").map(String.init)) == [
                    String(line.dropLast()), "domain\texample.org\t\(Self.now)\t\(Self.now)\t-1",
                ]
            )
            try await pool.shutdownGracefully()
        }
    }
}
