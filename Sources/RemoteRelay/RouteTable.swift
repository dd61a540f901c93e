/// Static routes: where the mail of a domain goes instead of to its MX hosts.
struct RouteTable: Sendable {
    /// A host name or an address, and a port.
    struct Route: Sendable, Equatable {
        let host: String
        let port: Int
    }

    private var exact: [String: Route] = [:]
    private var below: [String: Route] = [:]
    private var everything: Route?

    /// - Parameter routes: `example.net` for a domain, `.example.net` for what is below it, `*` for all the rest.
    init(_ routes: [String: Route]) {
        for (name, route) in routes {
            if name == "*" {
                everything = route
            } else if name.utf8.first == UInt8(ascii: ".") {
                below[String(name.dropFirst())] = route
            } else {
                exact[name] = route
            }
        }
    }

    /// The route of a domain: its own, else that of the nearest domain above, else the one for everything.
    func route(for domain: String) -> Route? {
        let domain = domain.lowercased()
        if let route = exact[domain] { return route }
        var rest = domain[...]
        while let dot = rest.firstIndex(of: ".") {
            rest = rest[rest.index(after: dot)...]
            if let route = below[String(rest)] { return route }
        }
        return everything
    }
}
