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
            var expansion = Expansion(self)
            guard expansion.follow(first, of: address, depth: 1) != nil else { return .loop }
            let found = expansion.found
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

    /// What an alias leads to. Each alias is followed once, however many lead to it, and each mailbox gets one copy, under
    /// whichever of its addresses.
    private struct Expansion {
        private let directory: AccountDirectory
        private(set) var found: [MailAddress] = []
        private var places: Set<Place> = []
        /// How many aliases in a row begin with one that was followed; nil while it is being followed.
        private var heights: [AddressKey: Int?] = [:]

        private enum Place: Hashable {
            case mailbox(String, extension: String?)
            case elsewhere(MailAddress)
        }

        init(_ directory: AccountDirectory) { self.directory = directory }

        /// Adds what an alias leads to.
        ///
        /// - Parameter depth: how many aliases in a row this one is the last of.
        /// - Returns: how many in a row this one is the first of; nil where they loop, are too many in a row, or lead to too
        ///   many addresses.
        mutating func follow(_ targets: [String], of alias: MailAddress, depth: Int) -> Int? {
            let key = AddressKey(alias)
            heights[key] = .some(nil)
            var height = 1
            for target in targets {
                let text = target.contains("@") ? target : "\(target)@\(alias.domain)"
                guard let address = try? MailAddress(parsing: text.utf8, options: .utf8) else { continue }
                switch directory.step(address) {
                case .targets(let next):
                    // `team: team, archive` keeps the mailbox of that name; a name that leads to itself is a loop.
                    guard let below = visit(address, next, depth: depth + 1) else { return nil }
                    height = max(height, below + 1)
                case .account(let account, let rest): add(address, .mailbox(account.mailbox, extension: rest))
                case .none: add(address, .elsewhere(address))
                }
                if found.count > AccountDirectory.maximumTargets { return nil }
            }
            heights[key] = height
            return height
        }

        /// Follows an alias where that wasn't done before.
        private mutating func visit(_ alias: MailAddress, _ targets: [String], depth: Int) -> Int? {
            guard let known = heights[AddressKey(alias)] else {
                return depth <= AccountDirectory.maximumDepth ? follow(targets, of: alias, depth: depth) : nil
            }
            guard let height = known, depth + height - 1 <= AccountDirectory.maximumDepth else { return nil }
            return height
        }

        private mutating func add(_ address: MailAddress, _ place: Place) {
            if places.insert(place).inserted { found.append(address) }
        }
    }
}
