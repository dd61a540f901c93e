import DNS
import Daemon
import NIOCore
import Network
import Testing

@Suite struct LocalZoneConfigurationTests {
    private func load(_ text: String) throws -> ResolverdConfiguration {
        try Configuration(text: "hostname = \"a\"\n\(text)", file: "martlet.toml").resolverd
    }

    private func name(_ text: String) throws -> DomainName { try DomainName(text) }

    @Test func fileAlone() throws {
        let zone = try #require(try load("[resolverd.zones]\n\"Example.Test\" = \"etc/zones/a\"\n").zones.first)
        #expect(zone == LocalZoneConfiguration(origin: try name("example.test"), file: "etc/zones/a"))
        #expect(!zone.isWritten)
        #expect(zone.allowQuery == nil)
        #expect(!zone.allowTransfer.allows([127, 0, 0, 1], signer: nil))
    }

    @Test func everything() throws {
        let resolverd = try load(
            """
            [resolverd.keys]
            "k." = "etc/dns-keys/k"
            "Other" = "etc/dns-keys/other"
            [resolverd.zones."dyn.test"]
            file = "dns/dyn.test"
            allow-query = ["192.0.2.0/24", "2001:db8::1", "key k"]
            allow-transfer = ["key other."]
            notify = ["192.0.2.1", "[2001:db8::2]:5353 key k."]
            update = ["key K. subdomain a.dyn.test A AAAA", "key other zone", "key k self TXT", "key k name b.dyn.test any"]
            sign = "ed25519"
            denial = "nsec3"
            [resolverd.zones."second.test"]
            primaries = ["192.0.2.1:53 key k."]
            """
        )
        #expect(resolverd.keys == [try name("k"): "etc/dns-keys/k", try name("other"): "etc/dns-keys/other"])
        let zone = try #require(resolverd.zones.first { $0.file == "dns/dyn.test" })
        let list = try #require(zone.allowQuery)
        #expect(list.allows([192, 0, 2, 9], signer: nil))
        #expect(!list.allows([192, 0, 3, 9], signer: nil))
        #expect(list.allows([192, 0, 3, 9], signer: try name("K")))
        #expect(!list.allows([192, 0, 3, 9], signer: try name("other")))
        #expect(!list.allows(nil, signer: nil))
        #expect(zone.allowTransfer.keys == [try name("other")])
        #expect(zone.notify.map(\.address.port) == [53, 5353])
        #expect(zone.notify.map(\.key) == [nil, try name("k")])
        #expect(zone.update.count == 4)
        #expect(zone.sign == .ed25519)
        #expect(zone.denial == .nsec3)
        let second = try #require(resolverd.zones.first { $0.isSecondary })
        #expect(second.file == "dns/second.test")
        #expect(second.primaries.first?.key == (try name("k")))
    }

    @Test(arguments: [
        ("\"a\" = 3\n", 4, "a"),
        ("\"a..b\" = \"f\"\n", 4, "a..b"),
        ("\"a\" = \"f\"\n\"A.\" = \"f\"\n", 4, "a"),
        ("[resolverd.zones.a]\n", 3, "a"),
        ("[resolverd.zones.a]\nfile = \"f\"\nallow-query = [\"192.0.2.1/24\"]\n", 5, "a.allow-query"),
        ("[resolverd.zones.a]\nfile = \"f\"\nallow-transfer = [\"key nobody.\"]\n", 5, "a.allow-transfer"),
        ("[resolverd.zones.a]\nfile = \"f\"\nnotify = [\"ns.example\"]\n", 5, "a.notify"),
        ("[resolverd.zones.a]\nfile = \"f\"\nnotify = [\"192.0.2.1 kex k\"]\n", 5, "a.notify"),
        ("[resolverd.zones.a]\nfile = \"f\"\nsign = \"rsa\"\n", 5, "a.sign"),
        ("[resolverd.zones.a]\nfile = \"f\"\ndenial = \"none\"\n", 5, "a.denial"),
        ("[resolverd.zones.a]\nfile = \"f\"\nfil = \"f\"\n", 5, "a.fil"),
        ("[resolverd.zones.a]\nfile = \"f\"\nupdate = [\"key k. zone\"]\n", 4, "a.file"),
        ("[resolverd.zones.a]\nfile = \"dns/keys\"\nupdate = [\"key k. zone\"]\n", 4, "a.file"),
        ("[resolverd.zones.a]\nfile = \"dns/a.journal\"\nupdate = [\"key k. zone\"]\n", 4, "a.file"),
        ("[resolverd.zones.a]\nfile = \"dns/../a\"\nupdate = [\"key k. zone\"]\n", 4, "a.file"),
        ("[resolverd.zones.a]\nfile = \"dns/a\"\nupdate = [\"key other. zone\"]\n", 5, "a.update"),
        ("[resolverd.zones.a]\nfile = \"dns/a\"\nupdate = [\"k. zone\"]\n", 5, "a.update"),
        ("[resolverd.zones.a]\nfile = \"dns/a\"\nupdate = [\"key k. somewhere\"]\n", 5, "a.update"),
        ("[resolverd.zones.a]\nfile = \"dns/a\"\nupdate = [\"key k. subdomain\"]\n", 5, "a.update"),
        ("[resolverd.zones.a]\nfile = \"dns/a\"\nupdate = [\"key k. zone AXFR\"]\n", 5, "a.update"),
        ("[resolverd.zones.a]\nprimaries = [\"192.0.2.1\"]\nupdate = [\"key k. zone\"]\n", 5, "a.update"),
    ])
    func faultsNameLineAndKey(text: String, line: Int, key: String) throws {
        let keys = "resolverd.keys = { \"k.\" = \"f\" }\n"
        let heading = text.hasPrefix("[") ? "" : "[resolverd.zones]\n"
        do {
            _ = try load(keys + heading + text)
            Issue.record("no error")
        } catch let error as ConfigurationError {
            #expect(error.key == "resolverd.zones.\(key)")
            #expect(error.line == line)
        }
    }

    @Test func rules() throws {
        let (k, other) = (try name("k.dyn.test"), try name("other"))
        let (below, top) = (try name("x.dyn.test"), try name("dyn.test"))
        let everywhere = try UpdateRule("key k.dyn.test zone")
        #expect(everywhere.allows(k, below, .a))
        #expect(everywhere.allows(k, top, .txt))
        #expect(!everywhere.allows(k, top, .ns))
        #expect(!everywhere.allows(k, top, .soa))
        #expect(!everywhere.allows(other, below, .a))
        #expect(try UpdateRule("key k.dyn.test zone NS ANY").allows(k, top, .soa))
        #expect(try UpdateRule("key k.dyn.test zone ns a").allows(k, top, .ns))
        #expect(try !UpdateRule("key k.dyn.test zone ns a").allows(k, top, .aaaa))
        #expect(try UpdateRule("key k.dyn.test self").allows(k, k, .a))
        #expect(try !UpdateRule("key k.dyn.test self").allows(k, below, .a))
        #expect(try UpdateRule("key k.dyn.test name X.dyn.test").allows(k, below, .a))
        #expect(try !UpdateRule("key k.dyn.test name x.dyn.test").allows(k, top, .a))
        #expect(try !UpdateRule("key k.dyn.test subdomain x.dyn.test").allows(k, top, .a))
        #expect(try UpdateRule("key k.dyn.test subdomain x.dyn.test").allows(k, name("y.x.dyn.test"), .a))
    }

    @Test(arguments: [
        ("example.test", "example.test"), ("0/25.2.0.192.in-addr.arpa", "0%2F25.2.0.192.in-addr.arpa"), (".", "root"),
    ])
    func stateNames(origin: String, name: String) throws {
        #expect(LocalZoneConfiguration.stateName(try self.name(origin)) == name)
    }
}
