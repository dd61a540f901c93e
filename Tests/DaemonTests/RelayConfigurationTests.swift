import Bus
import Daemon
import SASL
import SMTP
import Testing

/// `[remote-relay]`: routes, rules, credentials.
@Suite struct RelayConfigurationTests {
    private func load(_ text: String) throws -> RemoteRelayConfiguration {
        try Configuration(text: "hostname = \"a.test\"\n\(text)", file: "martlet.toml").remoteRelay
    }

    @Test func routesHaveTwoForms() throws {
        let relay = try load(
            """
            [remote-relay.routes]
            "Example.NET" = "[2001:db8::1]:2525"
            "a.net" = { hosts = ["mx.a.net", "192.0.2.1:26"], tls = "encrypt" }
            "b.net" = { hosts = ["smtp.b.net"], implicit-tls = true, credentials = "isp" }
            "c.net" = { hosts = ["run/other.sock"], protocol = "lmtp" }
            "d.net" = { action = "error", status = "5.7.1", text = "no" }
            [remote-relay.sender-routes]
            "boss@a.net" = { action = "discard" }
            """
        )
        #expect(relay.routes["example.net"] == .hosts(RelayHosts([RelayHost(host: "2001:db8::1", port: 2525)])))
        guard case .hosts(let first) = relay.routes["a.net"], case .hosts(let second) = relay.routes["b.net"],
            case .hosts(let third) = relay.routes["c.net"]
        else {
            Issue.record("not hosts")
            return
        }
        #expect(first.hosts == [RelayHost(host: "mx.a.net", port: 25), RelayHost(host: "192.0.2.1", port: 26)])
        #expect(first.tls == RelayTLSRule(.encrypt))
        #expect(second.hosts == [RelayHost(host: "smtp.b.net", port: 465)] && second.isImplicitTLS)
        #expect(third.hosts.map(\.socket) == ["other.sock"] && third.language == .lmtp)
        #expect(relay.routes["d.net"] == .error(EnhancedStatusCode(5, 7, 1), "no"))
        #expect(relay.senderRoutes["boss@a.net"] == .discard)
        #expect(relay.namedCredentials == ["isp"])
    }

    /// A route passes between daemons as it was read.
    @Test func routesComeBackFromFrames() throws {
        let print = String(repeating: "0a", count: 32)
        let relay = try load(
            """
            [remote-relay.named-routes]
            a = "[2001:db8::1]:2525"
            b = { hosts = ["smtp.b.net", "192.0.2.1:26"], implicit-tls = true, credentials = "isp" }
            c = { hosts = ["run/other.sock"], protocol = "lmtp" }
            d = { action = "error", status = "5.7.1", text = "no: % \\u00e4" }
            e = { action = "discard" }
            f = { hosts = ["mx.f.net"], tls = { level = "verify", names = ["f.net", ".g.net"], published = false } }
            g = { hosts = ["mx.g.net"], tls = { level = "fingerprint", fingerprints = ["\(print)"] } }
            """
        )
        #expect(relay.namedRoutes.count == 7)
        for (name, route) in relay.namedRoutes {
            #expect(try RelayRoute.read(Frame("OK", route.fields)) == route, "\(name)")
        }
        #expect(try RelayRoute.read(Frame("OK")) == nil)
    }

    @Test(arguments: [
        [("route", "elsewhere")], [("route", "relay")], [("route", "relay"), ("route-host", "a/b")],
        [("route", "relay"), ("route-host", "a:25"), ("route-tls", "strict")],
        [("route", "relay"), ("route-host", "a:25"), ("route-tls", "fingerprint")],
        [("route", "relay"), ("route-host", "a:25"), ("route-protocol", "uucp")],
        [("route", "error"), ("route-status", "2.0.0")], [("route", "error")],
    ])
    func routesThatAreNotUnderstood(_ fields: [(String, String)]) {
        #expect(throws: RelayRoute.Malformed.self) {
            try RelayRoute.read(Frame("OK", fields.map { Frame.Field($0.0, $0.1) }))
        }
    }

    @Test func nameThenAccountThenSenderThenDestination() throws {
        let table = RouteTable(
            try load(
                """
                [remote-relay.routes]
                "*" = "a"
                "bücher.example" = "b"
                [remote-relay.sender-routes]
                "Boss@example.test" = "c"
                ".firm.test" = "d"
                [remote-relay.account-routes]
                "alice@example.test" = "e"
                [remote-relay.named-routes]
                Spare = "f"
                """
            )
        )
        func host(_ question: RouteTable.Question) -> String? {
            guard case .hosts(let hosts) = table.route(for: question) else { return nil }
            return hosts.hosts.first?.host
        }
        #expect(table.kinds == Set(RouteTable.Kind.allCases))
        #expect(host(.init(destination: "x.example")) == "a")
        #expect(host(.init(destination: "xn--bcher-kva.example")) == "b")
        #expect(host(.init(sender: "boss@Example.test", destination: "x.example")) == "c")
        #expect(host(.init(sender: "x@y.firm.test", destination: "x.example")) == "d")
        let full = RouteTable.Question(account: "Alice@Example.Test", sender: "boss@example.test", destination: "x")
        #expect(host(full) == "e")
        #expect(host(.init(name: "SPARE", account: "alice@example.test")) == "f")
        #expect(host(.init(name: "none", destination: "x.example")) == nil)
        #expect(full.narrowed(to: [.destination]) == RouteTable.Question(destination: "x"))
        #expect(full.narrowed(to: []) == RouteTable.Question())
    }

    /// A rule can only name a route that there is.
    @Test func rulesNameRoutesThatThereAre() throws {
        let text = "[smtpd]\npolicy = \"route spare if account\"\n"
        #expect(throws: ConfigurationError.self) { try load(text) }
        #expect(throws: ConfigurationError.self) {
            try load("[smtpd.listener.submission]\npolicy = \"route spare if account\"\n")
        }
        #expect(try load(text + "[remote-relay.named-routes]\nSpare = \"a\"").namedRoutes.count == 1)
    }

    @Test(arguments: [
        ("[remote-relay.named-routes]\n\"a b\" = \"b\"", "remote-relay.named-routes.a b"),
        ("[remote-relay.routes]\n\"a\" = \"b:0\"", "remote-relay.routes.a"),
        ("[remote-relay.routes]\n\"a\" = {}", "remote-relay.routes.a.hosts"),
        ("[remote-relay.routes]\n\"a\" = { hosts = [\"run/a\"] }", "remote-relay.routes.a.hosts"),
        (
            "[remote-relay.routes]\n\"a\" = { hosts = [\"run/../a\"], protocol = \"lmtp\" }",
            "remote-relay.routes.a.hosts"
        ),
        ("[remote-relay.routes]\n\"a\" = { action = \"pipe\" }", "remote-relay.routes.a.command"),
        ("[remote-relay.routes]\n\"a\" = { action = \"discard\", hosts = [\"b\"] }", "remote-relay.routes.a.hosts"),
        ("[remote-relay.routes]\n\"a\" = { action = \"error\", status = \"2.0.0\" }", "remote-relay.routes.a.status"),
        (
            "[remote-relay.routes]\n\"a\" = { hosts = [\"b\"], credentials = \"c\", tls = \"may\" }",
            "remote-relay.routes.a.tls"
        ),
        ("[remote-relay.routes]\n\"a\" = \"b\"\n\"A\" = \"b\"", "remote-relay.routes.a"),
        ("[remote-relay.tls-policy]\n\"a\" = \"secure\"", "remote-relay.tls-policy.a"),
        ("[remote-relay.tls-policy]\n\"a\" = \"fingerprint\"", "remote-relay.tls-policy.a"),
        (
            "[remote-relay.tls-policy]\n\"a\" = { level = \"fingerprint\", fingerprints = [\"ab\"] }",
            "remote-relay.tls-policy.a.fingerprints"
        ),
        ("[remote-relay.tls-policy]\n\"a\" = { level = \"may\", names = [\"b\"] }", "remote-relay.tls-policy.a.names"),
        ("[remote-relay]\nclient-certificate = \"a\"", "remote-relay"),
        ("[remote-relay.routes]\n\"a\" = { hosts = [\"b\"], client-certificate = \"c\" }", "remote-relay"),
        (
            "[tls.pairs.c]\n[remote-relay.tls-policy]\n\"a\" = { level = \"none\", client-certificate = \"c\" }",
            "remote-relay.tls-policy.a.client-certificate"
        ),
        ("[remote-relay.sources]\n\"a\" = { ipv4 = \"::1\" }", "remote-relay.sources.a.ipv4"),
        ("[remote-relay.sources]\n\"a\" = { hostname = \"a b\" }", "remote-relay.sources.a.hostname"),
        ("[remote-relay.sources]\n\"a\" = { hostname-ipv6 = \"a b\" }", "remote-relay.sources.a.hostname-ipv6"),
        ("[remote-relay]\nhostname-ipv4 = \"a b\"", "remote-relay.hostname-ipv4"),
        ("[remote-relay]\nhost-rate = \"10\"", "remote-relay.host-rate"),
        ("[remote-relay.host-rates]\n\"mx.a\" = \"0/s\"", "remote-relay.host-rates.mx.a"),
    ])
    func faultsAreNamed(_ text: String, _ key: String) {
        do {
            _ = try load(text)
            Issue.record("that is wrong")
        } catch {
            #expect((error as? ConfigurationError)?.key == key)
        }
    }

    @Test func hostsMayBeShownCertificates() throws {
        let relay = try load(
            """
            [tls.pairs.own]
            [tls.pairs.partner]
            [remote-relay]
            client-certificate = "own"
            [remote-relay.tls-policy]
            "a.net" = { level = "encrypt", client-certificate = "partner" }
            "b.net" = { level = "may", client-certificate = "" }
            [remote-relay.routes]
            "c.net" = { hosts = ["mx.c.net"], client-certificate = "default" }
            "d.net" = { hosts = ["mx.d.net"], tls = { level = "verify", client-certificate = "partner" } }
            """
        )
        #expect(relay.clientCertificates == ["own", "partner", "default"])
        #expect(relay.tlsRules["a.net"]?.clientCertificate == "partner")
        #expect(relay.tlsRules["b.net"]?.clientCertificate == "")
        guard case .hosts(let hosts) = relay.routes["d.net"] else {
            Issue.record("not hosts")
            return
        }
        #expect(hosts.clientCertificate == "partner")
        #expect(try load("").clientCertificates.isEmpty)
    }

    @Test func fingerprintsAreReadWithColonsAndWithout() throws {
        let pairs = (0..<32).map { $0 < 16 ? "0" + String($0, radix: 16) : String($0, radix: 16) }
        for text in [pairs.joined(), pairs.joined(separator: ":").uppercased()] {
            let relay = try load(
                "[remote-relay.tls-policy]\n\"a\" = { level = \"fingerprint\", fingerprints = [\"\(text)\"] }"
            )
            #expect(relay.tlsRules["a"]?.fingerprints == [(0..<32).map { UInt8($0) }])
        }
    }

    @Test func credentialsAreReadFromAFileOfTheirOwn() throws {
        let all = try RelayCredentials.parse(
            """
            [isp]
            user = "bob"
            password = "secret"
            [google]
            user = "bob@gmail.com"
            token = "ya29.a"
            mechanism = "xoauth2"
            """,
            file: "credentials"
        )
        #expect(all["isp"] == RelayCredentials(user: "bob", secret: .password("secret")))
        #expect(all["google"] == RelayCredentials(user: "bob@gmail.com", secret: .token("ya29.a"), mechanism: .xoauth2))
        for text in [
            "[a]\nuser = \"b\"", "[a]\npassword = \"b\"", "[a]\nuser = \"b\"\npassword = \"c\"\ntoken = \"d\"",
            "[a]\nuser = \"b\"\ntoken = \"c d\"", "[a]\nuser = \"b\"\npassword = \"c\"\nmechanism = \"xoauth2\"",
            "[a]\nuser = \"b\"\npassword = \"c\"\nport = 1", "a = 1",
        ] {
            #expect(throws: ConfigurationError.self) { try RelayCredentials.parse(text, file: "credentials") }
        }
    }
}
