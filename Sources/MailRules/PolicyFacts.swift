import Network
import SMTP

/// What is known of mail when a policy table is asked.
package struct PolicyFacts: Sendable {
    /// `smtp`, `submission` or `submissions`.
    package var listener: String
    /// Of 4 or 16 octets.
    package var client: [UInt8]
    package var helo = ""
    /// Whether that is one of our names or addresses, and the client is not this host.
    package var isHeloOurs = false
    package var isEncrypted = false
    /// The account that the client logged in to.
    package var account: String?
    /// Empty for the null reverse-path.
    package var sender = ""
    /// One while its envelope comes in; at the message's end all that were taken.
    package var recipients: [String] = []
    /// Minutes of the local day.
    package var time = 0
    /// What the DNS says of the client; nil where it wasn't asked yet.
    package var connection: ConnectionFacts?
    /// What is known at the message's end only.
    package var message: MessageFacts?
    /// What greylisting says, by recipient; nothing for whom it wasn't asked.
    package var greylist: [String: Greylisting] = [:]

    /// Whether mail has come back after a while.
    package enum Greylisting: Sendable, Equatable {
        case passes
        /// For so many seconds.
        case waits(Int)
    }

    package init(listener: String, client: [UInt8]) {
        self.listener = listener
        self.client = client
    }

    /// Whether a stranger from elsewhere calls himself by a name or an address of ours.
    ///
    /// - Parameters:
    ///   - account: that he has logged in to.
    ///   - isRelay: whether he may relay by his address.
    ///   - here: the address that he has connected to, of 4 or 16 octets; nil where that isn't known.
    ///   - remote: his own.
    ///   - ownNames: in lower case.
    package static func isHeloOurs(
        _ helo: String?,
        account: String?,
        isRelay: Bool,
        here: [UInt8]?,
        remote: [UInt8]?,
        ownNames: Set<String>
    ) -> Bool {
        guard let helo, account == nil, !isRelay, here != remote else { return false }
        if ownNames.contains(helo.lowercased()) { return true }
        guard let here, let text = AddressLiteral.ipAddress(in: helo) else { return false }
        return AddressRange(String(text))?.octets == here
    }
}

/// What the DNS says of a client.
package struct ConnectionFacts: Sendable {
    /// If it and the address lead to each other.
    package var name: String?
    /// The result of `iprev` (RFC 8601 §2.7.3); `none` where there is no address.
    package var iprev: String
    /// The names of DNS lists that have it, as the configuration calls them.
    package var lists: Set<String>
    /// The names of those that gave no answer.
    package var unknownLists: Set<String>
    /// The sum of their weights.
    package var score: Int

    package init(
        name: String?,
        iprev: String,
        lists: Set<String> = [],
        unknownLists: Set<String> = [],
        score: Int = 0
    ) {
        self.name = name
        self.iprev = iprev
        self.lists = lists
        self.unknownLists = unknownLists
        self.score = score
    }

    /// Of a client without an address, as at a Unix socket: nobody is asked about it.
    package static let local = ConnectionFacts(name: nil, iprev: "none")
}

/// What is known at a message's end.
package struct MessageFacts: Sendable {
    /// Octets as it came in.
    package var size: Int
    /// Results by method: `spf`, `dkim`, `arc`, `dmarc`. Without an entry where nothing was checked.
    package var results: [String: String]
    /// Domains whose DKIM signatures hold.
    package var signedBy: [String]
    /// Domains of DKIM signatures that can't be judged now.
    package var maybeSignedBy: [String]
    /// Fields of its header: names in lower case, values unfolded and decoded. Empty where no rule asks for them.
    package var fields: [(name: String, value: [UInt8])] = []
    /// The body's beginning, as it came.
    package var body: [UInt8] = []

    package init(
        size: Int,
        results: [String: String] = [:],
        signedBy: [String] = [],
        maybeSignedBy: [String] = []
    ) {
        self.size = size
        self.results = results
        self.signedBy = signedBy
        self.maybeSignedBy = maybeSignedBy
    }
}

/// What is known of a condition.
enum PolicyAnswer: Equatable {
    case yes
    case no
    /// It could not be looked up.
    case unknown
    /// It will be known later.
    case open

    init(_ holds: Bool) { self = holds ? .yes : .no }

    /// nil for what will be known later.
    init(_ holds: Bool?) { self = holds.map { PolicyAnswer($0) } ?? .open }

    var negated: PolicyAnswer {
        switch self {
        case .yes: .no
        case .no: .yes
        case .unknown: .unknown
        case .open: .open
        }
    }
}

extension PolicyTest {
    /// Whether it holds.
    func answer(_ facts: PolicyFacts, score: Int) -> PolicyAnswer {
        switch self {
        case .clientName(let patterns):
            guard let connection = facts.connection else { return .open }
            guard let name = connection.name else { return connection.iprev == "temperror" ? .unknown : .no }
            return PolicyAnswer(patterns.contains { $0.matches(name) })
        case .result("iprev", let wanted):
            guard let connection = facts.connection else { return .open }
            return Self.answer(connection.iprev, wanted)
        case .result(let method, let wanted):
            guard let message = facts.message else { return .open }
            return Self.answer(message.results[method] ?? "none", wanted)
        case .signedBy(let patterns):
            guard let message = facts.message else { return .open }
            func has(_ domains: [String]) -> Bool {
                domains.contains { domain in patterns.contains { $0.matches(domain) } }
            }
            return has(message.signedBy) ? .yes : has(message.maybeSignedBy) ? .unknown : .no
        case .listed(let names):
            guard let connection = facts.connection else { return .open }
            if names.contains(where: connection.lists.contains) { return .yes }
            return names.contains(where: connection.unknownLists.contains) ? .unknown : .no
        case .listener, .client, .helo, .ownHelo, .tls, .account, .sender, .recipient, .size, .score, .header, .body,
            .time:
            return PolicyAnswer(holds(facts, score: score))
        }
    }

    /// `temperror` is any of the others, so that only who asks for it has a clear answer.
    private static func answer(_ result: String, _ wanted: [String]) -> PolicyAnswer {
        wanted.contains(result) ? .yes : result == "temperror" ? .unknown : .no
    }

    /// Whether it holds; nil where that isn't known yet. Of what is looked up in the DNS, `answer` says more.
    private func holds(_ facts: PolicyFacts, score: Int) -> Bool? {
        switch self {
        case .listener(let names): names.contains(facts.listener)
        case .client(let ranges): ranges.contains { $0.contains(facts.client) }
        case .clientName, .result, .signedBy, .listed: nil
        case .helo(let patterns): patterns.contains { $0.matches(facts.helo) }
        case .ownHelo: facts.isHeloOurs
        case .tls: facts.isEncrypted
        case .account(let patterns):
            facts.account.map { account in patterns.isEmpty || patterns.contains { $0.matches(account) } } ?? false
        case .sender(let patterns): patterns.contains { $0.matches(facts.sender) }
        case .recipient(let patterns):
            facts.recipients.contains { recipient in patterns.contains { $0.matches(recipient) } }
        case .size(let limit): facts.message.map { $0.size > limit }
        case .score(let limit): facts.connection.map { score + $0.score >= limit }
        case .header(let name, let patterns):
            facts.message.map { message in
                message.fields.contains { field in
                    field.name == name && patterns.contains { $0.matches(field.value) }
                }
            }
        case .body(let patterns):
            facts.message.map { message in patterns.contains { $0.matches(message.body) } }
        case .time(let from, let to):
            from <= to ? (from..<to).contains(facts.time) : facts.time >= from || facts.time < to
        }
    }

    /// Whether a rule that refuses puts mail off while it can't be looked up that this doesn't hold. Lists never stop mail.
    var defersInTrouble: Bool {
        switch self {
        case .clientName, .result, .signedBy: true
        case .listed, .listener, .client, .helo, .ownHelo, .tls, .account, .sender, .recipient, .size, .score, .header,
            .body, .time:
            false
        }
    }

    /// Whether the DNS has to be asked about the client for it.
    var needsConnection: Bool {
        switch self {
        case .clientName, .result("iprev", _), .listed, .score: true
        case .listener, .client, .helo, .ownHelo, .tls, .account, .sender, .recipient, .size, .result, .signedBy,
            .header,
            .body, .time:
            false
        }
    }

    /// Whether it looks at what stands in the message.
    var needsContent: Bool {
        switch self {
        case .header, .body: true
        case .listener, .client, .clientName, .helo, .ownHelo, .tls, .account, .sender, .recipient, .size, .result,
            .signedBy, .listed, .score, .time:
            false
        }
    }
}
