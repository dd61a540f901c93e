import DNS

/// The order in which MX hosts are tried (RFC 5321 §5.1).
enum MailExchangeList {
    /// Hosts that one delivery looks up at most.
    static let maximumHosts = 10

    /// What the MX records of a domain come to.
    enum Result: Equatable {
        case hosts([DomainName])
        /// "This domain takes no mail" (RFC 7505).
        case null
        /// We are the best host ourselves: the mail would come round again.
        case loop
    }

    /// Sorts by preference, shuffles within equal preference, and cuts the list where we stand in it ourselves: hosts of
    /// our own preference and worse would only hand the mail back.
    static func order(
        _ exchanges: [MailExchange],
        isOurs: (DomainName) -> Bool,
        using generator: inout some RandomNumberGenerator
    ) -> Result {
        if exchanges.count == 1, let only = exchanges.first, only.exchange.isRoot { return .null }
        var usable = exchanges.filter { !$0.exchange.isRoot }
        if let own = usable.filter({ isOurs($0.exchange) }).map(\.preference).min() {
            usable = usable.filter { $0.preference < own }
            if usable.isEmpty { return .loop }
        }
        usable.shuffle(using: &generator)
        // The sort must be stable for the shuffle to count.
        let sorted = usable.enumerated().sorted {
            ($0.element.preference, $0.offset) < ($1.element.preference, $1.offset)
        }
        return .hosts(Array(sorted.map(\.element.exchange).prefix(maximumHosts)))
    }
}
