import SMTP

/// Follows one alias to all addresses that it leads to. Each alias on the way is followed once, so the work grows with the
/// table and not with the ways through it.
struct AliasExpansion {
    enum Target {
        case mailbox(Account, extension: String?)
        /// Not in a domain of ours.
        case foreign(MailAddress)
        /// In a domain of ours, but there is no such address.
        case missing(MailAddress)

        /// - Parameter delimiter: between a name and its extension.
        func address(_ delimiter: Character) -> MailAddress {
            switch self {
            case .foreign(let address), .missing(let address): return address
            case .mailbox(let account, let rest):
                let own = account.address
                let full = rest.flatMap {
                    try? MailAddress(localPart: "\(own.localPart)\(delimiter)\($0)", domain: own.domain)
                }
                return full ?? own
            }
        }
    }

    /// How deep aliases of aliases may nest.
    private static let maximumDepth = 10
    /// The most addresses that one alias may expand to.
    private static let maximumTargets = MailingList.maximumAddresses

    private let directory: AccountDirectory
    /// In the order in which they were found; each mailbox and each address once.
    private(set) var targets: [Target] = []
    /// Whether one of them exists, as far as can be known here.
    private(set) var hasTarget = false
    /// Whether it leads to a list of which nothing is known now.
    private(set) var isUnknown = false
    private var mailboxes: Set<AddressKey> = []
    private var addresses: Set<MailAddress> = []
    /// Aliases that were followed; those that are being followed with the extension that they were asked for with.
    private var done: Set<AddressKey> = []
    private var open: [AddressKey: String?] = [:]

    init(_ directory: AccountDirectory) { self.directory = directory }

    /// Adds what an alias leads to; false where aliases nest too deep or lead to too many addresses, or where that can't be known.
    mutating func follow(_ use: AccountDirectory.AliasUse) -> Bool {
        guard open.count < Self.maximumDepth else { return false }
        open.updateValue(use.rest, forKey: use.key)
        defer {
            open.removeValue(forKey: use.key)
            done.insert(use.key)
        }
        for target in use.entry.targets {
            guard let path = MailingList.path(of: target) else {
                guard follow([target], use) else { return false }
                continue
            }
            guard let list = directory.lists[path] else {
                isUnknown = true
                return false
            }
            guard follow(list.addresses, use) else { return false }
        }
        return true
    }

    private mutating func follow(_ addresses: [String], _ use: AccountDirectory.AliasUse) -> Bool {
        for text in addresses {
            guard let address = AccountDirectory.address(text, domain: use.domain) else { continue }
            guard directory.domains.contains(address.lowercasedDomain) else {
                add(.foreign(address))
                continue
            }
            switch directory.step(address) {
            case .mailbox(let account, let rest): add(.mailbox(account, extension: rest))
            case .none: add(.missing(address))
            case .alias(let next):
                if let rest = open[next.key] {
                    // A name in its own list means its mailbox. Where it has none, it adds nothing.
                    if let (account, own) = directory.mailbox(of: address) {
                        add(.mailbox(account, extension: own ?? next.rest ?? rest))
                    }
                } else if !done.contains(next.key), !follow(next) {
                    return false
                }
            }
            if targets.count > Self.maximumTargets { return false }
        }
        return true
    }

    private mutating func add(_ target: Target) {
        switch target {
        case .mailbox(let account, _):
            hasTarget = true
            if mailboxes.insert(AddressKey(account.address)).inserted { targets.append(target) }
        case .foreign(let address):
            hasTarget = true
            if addresses.insert(address).inserted { targets.append(target) }
        case .missing(let address):
            if addresses.insert(address).inserted { targets.append(target) }
        }
    }
}
