import Bus
import SMTP

/// A route in a frame, as authd answers and queue-manager passes it on (docs/protocols.md, "Routes").
extension RelayRoute {
    /// A route that isn't understood: nothing is known of where the mail goes.
    package struct Malformed: Error, Equatable {
        package let field: String
    }

    package var fields: [Frame.Field] {
        switch self {
        case .hosts(let hosts): [Frame.Field("route", "relay")] + hosts.fields
        case .discard: [Frame.Field("route", "discard")]
        case .pipe(let name): [Frame.Field("route", "pipe"), Frame.Field("route-command", name)]
        case .error(let status, let text):
            [
                Frame.Field("route", "error"), Frame.Field("route-status", status.description),
                Frame.Field("route-text", text),
            ]
        }
    }

    /// - Returns: nil where there is none: mail goes to the hosts of its domain.
    package static func read(_ frame: Frame) throws(Malformed) -> RelayRoute? {
        switch frame["route"] {
        case nil: return nil
        case "relay": return .hosts(try RelayHosts(frame))
        case "discard": return .discard
        case "pipe":
            guard let name = frame["route-command"] else { throw Malformed(field: "route-command") }
            return .pipe(name)
        case "error":
            guard let status = frame["route-status"].flatMap({ EnhancedStatusCode(parsing: $0.utf8) }),
                status.statusClass != 2
            else { throw Malformed(field: "route-status") }
            return .error(status, frame["route-text"] ?? "mail is not taken for this address")
        default: throw Malformed(field: "route")
        }
    }
}

extension RouteTable.Question {
    package init(_ frame: Frame) {
        self.init(
            name: frame["name"],
            account: frame["account"],
            sender: frame["sender"],
            destination: frame["destination"]
        )
    }

    package var frame: Frame {
        let pairs = [("name", name), ("account", account), ("sender", sender), ("destination", destination)]
        return Frame("ROUTE", pairs.compactMap { name, value in value.map { Frame.Field(name, $0) } })
    }

    /// Without what no route can be found by: as many messages as possible have the same question.
    package func narrowed(to kinds: Set<RouteTable.Kind>) -> Self {
        if let name { return Self(name: name) }
        return Self(
            account: kinds.contains(.account) ? account : nil,
            sender: kinds.contains(.sender) ? sender : nil,
            destination: kinds.contains(.destination) ? destination : nil
        )
    }
}

extension RelayHosts {
    fileprivate var fields: [Frame.Field] {
        var fields = hosts.map { Frame.Field("route-host", $0.text) }
        if language != .smtp { fields.append(.init("route-protocol", language.rawValue)) }
        if isImplicitTLS { fields.append(.init("route-implicit-tls", "yes")) }
        if let tls {
            fields.append(.init("route-tls", tls.level.rawValue))
            for name in tls.names { fields.append(.init("route-tls-name", name)) }
            for print in tls.fingerprints { fields.append(.init("route-tls-fingerprint", Self.hexadecimal(print))) }
            fields.append(.init("route-tls-published", tls.usesPublished ? "yes" : "no"))
        }
        if let credentials { fields.append(.init("route-credentials", credentials)) }
        return fields
    }

    fileprivate init(_ frame: Frame) throws(RelayRoute.Malformed) {
        var hosts: [RelayHost] = []
        for text in frame.all("route-host") {
            // Our own always say which port.
            guard let host = RelayHost(text, port: 25) else { throw RelayRoute.Malformed(field: "route-host") }
            hosts.append(host)
        }
        guard !hosts.isEmpty else { throw RelayRoute.Malformed(field: "route-host") }
        self.init(hosts)
        if let text = frame["route-protocol"] {
            guard let language = Language(rawValue: text) else { throw RelayRoute.Malformed(field: "route-protocol") }
            self.language = language
        }
        isImplicitTLS = frame["route-implicit-tls"] == "yes"
        if let text = frame["route-tls"] {
            // What must be verified is never looser for a word that isn't known.
            guard let level = RelayTLSRule.Level(rawValue: text) else { throw RelayRoute.Malformed(field: "route-tls") }
            var rule = RelayTLSRule(level)
            rule.names = frame.all("route-tls-name")
            for text in frame.all("route-tls-fingerprint") {
                guard let fingerprint = RelayTLSRule.fingerprint(text) else {
                    throw RelayRoute.Malformed(field: "route-tls-fingerprint")
                }
                rule.fingerprints.append(fingerprint)
            }
            guard level != .fingerprint || !rule.fingerprints.isEmpty else {
                throw RelayRoute.Malformed(field: "route-tls-fingerprint")
            }
            rule.usesPublished = frame["route-tls-published"] != "no"
            tls = rule
        }
        credentials = frame["route-credentials"]
    }

    private static func hexadecimal(_ octets: [UInt8]) -> String {
        let digits = Array("0123456789abcdef")
        return octets.map { "\(digits[Int($0 >> 4)])\(digits[Int($0 & 15)])" }.joined()
    }
}

extension RelayHost {
    /// As the configuration has it: `host:port`, `[address]:port`, `run/name.sock`.
    fileprivate var text: String {
        if let socket { return "run/\(socket)" }
        return host.utf8.contains(UInt8(ascii: ":")) ? "[\(host)]:\(port)" : "\(host):\(port)"
    }
}
