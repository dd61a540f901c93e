import DNS
import Daemon
import LocalZones
import NIOCore
import Recursion

/// What comes of a question: from local zones, the cache and other servers put together.
struct Resolution {
    var code = ResponseCode.noError
    var answers: [ResourceRecord] = []
    var authorities: [ResourceRecord] = []
    var additionals: [ResourceRecord] = []
    var isAuthoritative = false
    /// Whether all of it is proven by signatures.
    private(set) var isAuthentic = false
    /// What the client is to know of it beside.
    private(set) var note: ExtendedError?
    var error: ExtendedError?
    /// Whether anything came from elsewhere, so that times to live run down.
    private(set) var isForeign = false
    /// Whether local zones have anything to do with it.
    private(set) var dependsOnZones = false
    /// Whether signatures of ours are in it.
    private var isSigned = false
    /// Whether the response code goes with a proof by RFC 9824, as the client wished.
    private(set) var isCompact = false
    /// Whether the client is to ask again on a stream.
    private(set) var isTruncated = false
    /// That names on the way, which wildcards stood for, aren't there themselves.
    private var proofs: [ResourceRecord] = []
    private var isKept = true
    private var hasParts = false

    /// Seconds for which the whole may be kept; nil for as long as the zones stay as they are.
    var lifetime: UInt32? {
        guard isKept, error == nil else { return 0 }
        guard isForeign else { return isSigned ? ZoneSigner.answerLifetime : nil }
        let shortest = answers.shortestLife(with: authorities.shortestLife(with: additionals.shortestLife()))
        return min(shortest ?? 0, isSigned ? ZoneSigner.answerLifetime : .max)
    }

    mutating func add(_ local: LocalAnswer, isFirst: Bool) {
        if isFirst { isAuthoritative = local.isAuthoritative }
        dependsOnZones = true
        isAuthentic = false
        hasParts = true
        code = local.code
        answers += local.answers
        isSigned = isSigned || local.isSigned
        isCompact = isCompact || local.isCompact
        proofs += local.proofs
        authorities = local.authorities + proofs
        additionals = local.additionals
    }

    /// That the answer isn't for everybody, so that it must not be kept.
    mutating func restrict() { isKept = false }

    mutating func add(_ outcome: Outcome) {
        isAuthentic = outcome.security == .secure && (isAuthentic || !hasParts)
        hasParts = true
        isForeign = true
        if outcome.lifetime == 0 || outcome.note != nil { isKept = false }
        note = note ?? outcome.note
        code = outcome.code
        answers += outcome.answers
        authorities = outcome.authorities + proofs
        additionals = []
        if let error = outcome.error { fail(error) }
    }

    /// The same with other answers, which nobody signed.
    func translated(_ answers: [ResourceRecord]) -> Resolution {
        var resolution = self
        resolution.answers = answers
        resolution.authorities = []
        resolution.additionals = []
        resolution.isAuthentic = false
        resolution.isAuthoritative = false
        return resolution
    }

    /// Adds an alias of our own making.
    mutating func add(alias: ResourceRecord) {
        hasParts = true
        isAuthentic = false
        answers.append(alias)
    }

    /// Nothing of a chain is worth anything without its end.
    mutating func fail(_ error: ExtendedError) {
        let dependsOnZones = dependsOnZones
        self = Resolution()
        self.dependsOnZones = dependsOnZones
        code = .serverFailure
        self.error = error
    }

    /// That it isn't signed now. Whoever can't be forged is told so; the others are to come by a stream.
    mutating func exhaust(isDatagram: Bool) {
        fail(ExtendedError(code: 0, text: "too many signatures would have to be made"))
        guard isDatagram else { return }
        self = Resolution()
        isTruncated = true
        isKept = false
    }

    static func refusal(_ text: String) -> Resolution {
        var resolution = Resolution()
        resolution.code = .refused
        resolution.error = ExtendedError(code: ExtendedError.prohibitedCode, text: text)
        return resolution
    }
}

/// What a client may ask for, and how.
struct QueryRights {
    /// Whether it's among those whose questions about other than local zones are answered.
    var mayRecurse: Bool
    /// RD, DO and CD of its query.
    var recursionDesired: Bool
    var dnssecOK: Bool
    var checkingDisabled: Bool
    /// What it may have by where it is.
    var standing: ClientStanding
    /// CO: NXDOMAIN may go with a proof by RFC 9824.
    var compactOK = false
    /// Whether the answer goes into a datagram.
    var isDatagram = false
    /// The key that the query was signed with.
    var signer: DomainName?

    /// The client's address in network order; nil for a program on this machine.
    var address: [UInt8]? { standing.octets.isEmpty ? nil : standing.octets }
}

extension Resolution {
    /// That the answer isn't given, and why.
    mutating func withhold(_ error: ExtendedError) {
        fail(error)
        code = .refused
    }
}
