import SMTP

/// What is known about addresses: accounts, aliases and the local domains. A value: made anew when a file changes.
package struct AccountDirectory: Sendable {
    package let accounts: AccountTable
    package let aliases: AliasTable
    package let domains: Set<String>
    /// The domain of names without one.
    let firstDomain: String?
    /// Lists in files, by their paths; nil for one of which nothing is known now.
    let lists: [String: MailingList]
    /// What may stand between a name and an extension.
    let delimiters: String

    package init(
        accounts: AccountTable,
        aliases: AliasTable,
        domains: [String],
        lists: [String: MailingList] = [:],
        delimiters: String = "+"
    ) {
        self.lists = lists
        self.delimiters = delimiters
        self.accounts = accounts
        self.aliases = aliases
        self.domains = Set(domains)
        firstDomain = domains.first
    }

    /// Where mail to an address goes.
    package enum Destination: Sendable, Equatable {
        /// One mailbox here. The extension is what stood behind `+`.
        case mailbox(Account, extension: String?)
        /// Addresses that an alias leads to; those of ours are mailboxes, or nobody's.
        ///
        /// The owner is whom failures are reported to instead of the sender: the address `owner-NAME`, where there is one.
        case forward([MailAddress], owner: MailAddress? = nil)
        /// The domain is not ours.
        case foreign
        /// There is no such address, or it's an alias and no address that it leads to exists.
        case unknown
        /// The aliases loop, or expand to too many addresses.
        case loop
        /// It's an alias for a list in a file that can't be read now.
        case unknownNow
    }

    /// The account of a login name. A name without a domain belongs to the first domain.
    package func account(user: String) -> Account? {
        guard let address = try? MailAddress(parsing: full(user).utf8, options: .utf8) else { return nil }
        return accounts[address]
    }

    /// What logins as one user have in common, whether there is such an account or not.
    func loginName(_ user: String) -> String {
        String(full(String(user.prefix(400))).lowercased().prefix(400))
    }

    /// The form of a login name in which all spellings of one are the same, whether there is such an account or not: where it is an
    /// address, the one under which accounts are looked up.
    func normalizedName(_ user: String) -> String {
        guard let address = try? MailAddress(parsing: full(user).utf8, options: .utf8) else { return loginName(user) }
        return AddressKey(address).text
    }

    private func full(_ user: String) -> String {
        user.contains("@") ? user : firstDomain.map { "\(user)@\($0)" } ?? user
    }

    /// Follows aliases, extensions and catch-alls. An alias wins over an account of its name.
    ///
    /// - Parameter isExpanded: whether it's one of the addresses that an alias led to before: its mailbox is meant, if it has
    ///   one.
    package func destination(of address: MailAddress, isExpanded: Bool = false) -> Destination {
        guard domains.contains(address.lowercasedDomain) else { return .foreign }
        if isExpanded, let (account, rest) = mailbox(of: address) { return .mailbox(account, extension: rest) }
        switch step(address) {
        case .mailbox(let account, let rest): return .mailbox(account, extension: rest)
        case .none: return .unknown
        case .alias(let use):
            var expansion = AliasExpansion(self)
            guard expansion.follow(use) else { return expansion.isUnknown ? .unknownNow : .loop }
            guard expansion.hasTarget else { return expansion.targets.isEmpty ? .loop : .unknown }
            // An alias to just one mailbox of ours is that mailbox.
            if expansion.targets.count == 1, case .mailbox(let account, let rest) = expansion.targets[0] {
                return .mailbox(account, extension: rest)
            }
            return .forward(
                expansion.targets.map { $0.address(delimiters.first ?? "+") },
                owner: owner(of: use)
            )
        }
    }

    /// Whether mail to an address comes to an account, because it's its own or by aliases; nil where a list on the way can't be
    /// read now.
    func leads(_ address: MailAddress, to account: Account) -> Bool? {
        guard domains.contains(address.lowercasedDomain) || accounts[address] != nil else { return false }
        if let (own, _) = mailbox(of: address), own.address == account.address { return true }
        switch step(address) {
        case .mailbox(let found, _): return found.address == account.address
        case .none: return false
        case .alias(let use):
            var expansion = AliasExpansion(self)
            guard expansion.follow(use) else { return expansion.isUnknown ? nil : false }
            return expansion.targets.contains { target in
                if case .mailbox(let found, _) = target { found.address == account.address } else { false }
            }
        }
    }

    /// `owner-NAME` in the alias's domain, where that leads somewhere. An owner has none of its own.
    private func owner(of use: AliasUse) -> MailAddress? {
        let name = use.key.text.dropLast(use.domain.utf8.count + 1)
        guard !name.isEmpty, !name.hasPrefix(Self.ownerPrefix),
            let owner = try? MailAddress(localPart: "\(Self.ownerPrefix)\(name)", domain: use.domain)
        else { return nil }
        // A catch-all doesn't mean it.
        if case .alias(let next) = step(owner), next.key.text.first == "@" { return nil }
        if case .none = step(owner) { return nil }
        return owner
    }

    private static let ownerPrefix = "owner-"

    /// Addresses in our domains to which an alias leads and that don't exist. Of an alias that is there in every domain, targets
    /// without a domain are missing where none of the domains has them.
    package func missingTargets(of entry: AliasTable.Entry) -> [MailAddress] {
        let domain = entry.name.split(separator: "@").last.map(String.init)
        let places = entry.name.contains("@") ? domains.filter { $0 == domain }.sorted() : domains.sorted()
        return entry.targets.filter { MailingList.path(of: $0) == nil }.compactMap { target in
            let addresses = places.compactMap { Self.address(target, domain: $0) }
            return addresses.allSatisfy(isMissing) ? addresses.first : nil
        }
    }

    /// The alias that keeps all mail from an account of its name; nil where the account gets its mail.
    package func aliasInstead(of account: Account) -> AliasTable.Entry? {
        guard case .alias(let use) = step(account.address) else { return nil }
        switch destination(of: account.address) {
        case .mailbox(account, _): return nil
        case .forward(let targets, _) where targets.contains(account.address): return nil
        case .mailbox, .forward, .foreign, .unknown, .loop, .unknownNow: return use.entry
        }
    }

    private func isMissing(_ address: MailAddress) -> Bool {
        guard domains.contains(address.lowercasedDomain), case .none = step(address) else { return false }
        return true
    }

    // MARK: Steps

    /// An alias as one address uses it.
    struct AliasUse {
        let entry: AliasTable.Entry
        /// Whose list it is: the address that the alias stands for. A catch-all has no local part.
        let key: AddressKey
        /// The domain of targets without one.
        let domain: String
        /// What stood behind `+`.
        let rest: String?
    }

    enum Step {
        case mailbox(Account, extension: String?)
        case alias(AliasUse)
        case none
    }

    /// What an address is, without following an alias.
    func step(_ address: MailAddress) -> Step {
        let domain = address.lowercasedDomain
        guard domains.contains(domain) else { return .none }
        func alias(_ localPart: some StringProtocol, _ rest: String?) -> Step? {
            guard let entry = aliases.entry(localPart: localPart, domain: domain) else { return nil }
            let key = AddressKey(localPart: localPart, domain: domain)
            return .alias(AliasUse(entry: entry, key: key, domain: domain, rest: rest))
        }
        if let exact = alias(address.localPart, nil) { return exact }
        if let account = accounts[address] { return .mailbox(account, extension: nil) }
        if let (base, rest) = parts(address.localPart) {
            if let known = alias(base, rest) { return known }
            if let account = accounts[AddressKey(localPart: base, domain: domain)] {
                return .mailbox(account, extension: rest)
            }
        }
        guard let entry = aliases.catchAll(domain: domain) else { return .none }
        return .alias(
            AliasUse(entry: entry, key: AddressKey(localPart: "", domain: domain), domain: domain, rest: nil)
        )
    }

    /// The mailbox that an address has itself, whatever aliases say.
    func mailbox(of address: MailAddress) -> (Account, extension: String?)? {
        if let account = accounts[address] { return (account, nil) }
        guard let (base, rest) = parts(address.localPart),
            let account = accounts[AddressKey(localPart: base, domain: address.domain)]
        else { return nil }
        return (account, rest)
    }

    /// `user+extension` in its parts.
    private func parts(_ localPart: String) -> (base: Substring, rest: String)? {
        guard let plus = localPart.firstIndex(where: delimiters.contains), plus != localPart.startIndex else {
            return nil
        }
        return (localPart[..<plus], String(localPart[localPart.index(after: plus)...]))
    }

    /// A target of an alias.
    static func address(_ target: String, domain: String) -> MailAddress? {
        let text = target.contains("@") ? target : "\(target)@\(domain)"
        return try? MailAddress(parsing: text.utf8, options: .utf8)
    }
}
