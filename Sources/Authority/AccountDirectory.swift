import SMTP

/// What is known about addresses: accounts, aliases and the local domains. A value: made anew when a file changes.
package struct AccountDirectory: Sendable {
    package let accounts: AccountTable
    package let aliases: AliasTable
    package let domains: Set<String>
    private let firstDomain: String?

    /// How deep aliases of aliases may nest.
    private static let maximumDepth = 10
    /// The most addresses that one alias may expand to.
    private static let maximumTargets = 1000

    package init(accounts: AccountTable, aliases: AliasTable, domains: [String]) {
        self.accounts = accounts
        self.aliases = aliases
        self.domains = Set(domains)
        firstDomain = domains.first
    }

    /// Where mail to an address goes.
    package enum Destination: Sendable, Equatable {
        /// One mailbox here. The extension is what stood behind `+`.
        case mailbox(Account, extension: String?)
        /// Addresses that an alias leads to.
        case forward([MailAddress])
        /// The domain is not ours.
        case foreign
        case unknown
        /// The aliases loop, or expand to too many addresses.
        case loop
    }

    /// The account of a login name. A name without a domain belongs to the first domain.
    package func account(user: String) -> Account? {
        let text = user.contains("@") ? user : firstDomain.map { "\(user)@\($0)" } ?? user
        guard let address = try? MailAddress(parsing: text.utf8, options: .utf8) else { return nil }
        return accounts[address]
    }

    /// Follows accounts, extensions, aliases and catch-alls.
    package func destination(of address: MailAddress) -> Destination {
        guard domains.contains(address.lowercasedDomain) else { return .foreign }
        switch step(address) {
        case .account(let account, let rest): return .mailbox(account, extension: rest)
        case .none: return .unknown
        case .targets(let first):
            var found: [MailAddress] = []
            guard expand(first, of: address, into: &found, depth: 1), found.count <= Self.maximumTargets else {
                return .loop
            }
            // An alias to just one mailbox of ours is that mailbox.
            if found.count == 1, let only = found.first, case .account(let account, let rest) = step(only) {
                return .mailbox(account, extension: rest)
            }
            return found.isEmpty ? .loop : .forward(found)
        }
    }

    private enum Step {
        case account(Account, extension: String?)
        case targets([String])
        case none
    }

    private func step(_ address: MailAddress) -> Step {
        let domain = address.lowercasedDomain
        guard domains.contains(domain) else { return .none }
        if let account = accounts[address] { return .account(account, extension: nil) }
        if let targets = aliases.targets(localPart: address.localPart, domain: domain) { return .targets(targets) }
        if let plus = address.localPart.firstIndex(of: "+"), plus != address.localPart.startIndex {
            let base = address.localPart[..<plus]
            let rest = String(address.localPart[address.localPart.index(after: plus)...])
            if let account = accounts[AddressKey(localPart: base, domain: domain)] {
                return .account(account, extension: rest)
            }
            if let targets = aliases.targets(localPart: String(base), domain: domain) { return .targets(targets) }
        }
        return aliases.catchAll(domain: domain).map { .targets($0) } ?? .none
    }

    /// Adds the addresses that the targets expand to; false where they nest too deep or are too many.
    private func expand(
        _ targets: [String],
        of alias: MailAddress,
        into found: inout [MailAddress],
        depth: Int
    ) -> Bool {
        for target in targets {
            let text = target.contains("@") ? target : "\(target)@\(alias.domain)"
            guard let address = try? MailAddress(parsing: text.utf8, options: .utf8) else { continue }
            // `team: team, archive` keeps the mailbox of that name; a name that only leads to itself is a loop.
            if case .targets(let next) = step(address) {
                guard depth < Self.maximumDepth, AddressKey(address) != AddressKey(alias) else { return false }
                guard expand(next, of: address, into: &found, depth: depth + 1) else { return false }
            } else if !found.contains(address) {
                found.append(address)
            }
            if found.count > Self.maximumTargets { return false }
        }
        return true
    }
}
