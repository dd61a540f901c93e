import SMTP

/// The administrator's rules, in order: the first one that accepts, rejects, defers, discards or sends to Junk decides.
package struct PolicyTable: Sendable, Equatable {
    package let rules: [PolicyRule]

    /// What a table says of mail.
    package struct Outcome: Sendable, Equatable {
        /// The rule that decides, and what it does; nil where none does.
        package var rule: PolicyRule?
        package var action: PolicyAction?
        /// Fields that rules add, in their order, without line ends.
        package var fields: [String] = []
        package var score = 0
        /// The name of the route that it goes by.
        package var route: String?
        /// The rule that says so.
        package var routeRule: PolicyRule?
        /// By how many seconds the reply is to come later.
        package var delay = 0
        /// For whom greylisting has to be asked before the table goes on.
        package var asksGreylist: [String] = []
        /// A rule that can't be judged before more is known: those below it weren't looked at.
        package var isOpen = false

        /// Nothing is said.
        package init() {}

        fileprivate mutating func add(_ points: Int) {
            let (sum, isTooLarge) = score.addingReportingOverflow(points)
            if !isTooLarge { score = sum }
        }
    }

    package init(_ rules: [PolicyRule] = []) { self.rules = rules }

    /// Whether the DNS has to be asked about clients.
    package var needsConnection: Bool {
        rules.contains { $0.conditions.contains { $0.test.needsConnection } }
    }

    /// Whether what stands in messages has to be kept for rules.
    package var needsContent: Bool {
        rules.contains { $0.conditions.contains { $0.test.needsContent } }
    }

    /// The routes that rules name, and the line of each.
    package var routes: [(name: String, line: Int)] {
        rules.compactMap { rule in
            if case .route(let name) = rule.action { (name, rule.line) } else { nil }
        }
    }

    /// Whether greylisting may be asked.
    package var greylists: Bool { rules.contains { $0.action == .greylist } }

    /// The longest delay of one reply. Seconds.
    package static let maximumDelay = 60

    /// Goes through the rules. One whose conditions aren't all known yet ends it, unless one of the others fails already.
    ///
    /// What can't be looked up now neither holds nor fails to: such a rule is passed over. But nobody is refused for good by it:
    /// a rule that refuses unless something is known puts the mail off, and so does one below a rule that might have taken it.
    package func evaluate(_ facts: PolicyFacts) -> Outcome {
        var seen: [ContentPlace: PolicyAnswer] = [:]
        return evaluate(facts, &seen)
    }

    /// A condition that looks at a message's content, which is the same for all recipients: looking takes a while.
    private struct ContentPlace: Hashable {
        let rule: Int
        let condition: Int
    }

    /// - Parameter seen: what is known of the content already.
    private func evaluate(_ facts: PolicyFacts, _ seen: inout [ContentPlace: PolicyAnswer]) -> Outcome {
        var outcome = Outcome()
        var mayBeTaken = false
        for (place, rule) in rules.enumerated() {
            let (answer, defers) = answer(rule, place, facts, score: outcome.score, &seen)
            switch answer {
            case .no: continue
            case .open:
                outcome.isOpen = true
                return outcome
            case .unknown:
                switch rule.action {
                case .reject, .defer:
                    guard defers else { continue }
                    outcome.rule = rule
                    outcome.action = Self.trouble
                    return outcome
                case .accept, .junk, .discard, .hold: mayBeTaken = true
                // Good points count, or who has them would be refused for want of an answer.
                case .score(let points) where points < 0: outcome.add(points)
                case .score, .addField, .route, .greylist, .tarpit: break
                }
                continue
            case .yes: break
            }
            switch rule.action {
            case .addField(let field): outcome.fields.append(field)
            case .route(let name) where outcome.route == nil:
                outcome.route = name
                outcome.routeRule = rule
            case .route: continue
            case .score(let points): outcome.add(points)
            case .tarpit(let seconds): outcome.delay = min(outcome.delay + seconds, Self.maximumDelay)
            case .greylist:
                switch Self.greylisting(facts) {
                case .passes: continue
                case .waits(let seconds):
                    outcome.rule = rule
                    outcome.action = Self.deferral(by: seconds)
                    return outcome
                case nil:
                    outcome.asksGreylist = facts.recipients.filter { facts.greylist[$0] == nil }
                    outcome.isOpen = true
                    return outcome
                }
            case .accept, .reject, .defer, .junk, .discard, .hold:
                outcome.rule = rule
                outcome.action = mayBeTaken && rule.action.isRefusal ? Self.trouble : rule.action
                return outcome
            }
        }
        return outcome
    }

    /// What decides can't be looked up now.
    private static let trouble = PolicyAction.defer(
        EnhancedStatusCode(4, 7, 0),
        "what decides about this mail cannot be looked up now, try again later"
    )

    /// The longest wait of all recipients; nil where it isn't known of all.
    private static func greylisting(_ facts: PolicyFacts) -> PolicyFacts.Greylisting? {
        var longest = 0
        for recipient in facts.recipients {
            switch facts.greylist[recipient] {
            case nil: return nil
            case .passes: continue
            // Who has to wait no second has to come back all the same.
            case .waits(let seconds): longest = max(longest, seconds, 1)
            }
        }
        return longest > 0 ? .waits(longest) : .passes
    }

    private static func deferral(by seconds: Int) -> PolicyAction {
        .defer(EnhancedStatusCode(4, 7, 1), "greylisted, try again in \(seconds) seconds")
    }

    /// Goes through the rules at a message's end, for each recipient where rules ask about recipients. What only some
    /// recipients' rules say can't be done to some of them, since all get the same message:
    ///
    /// - where all are to be refused or put off, the message is, and put off where that holds for one;
    /// - where only some are, all have to wait: the client has to send them apart;
    /// - where it's to be held for one, it is;
    /// - where all are to go to Junk or to be thrown away, it goes to Junk;
    /// - else no rule decides, as for the recipient who has none: nothing is lost, and the author's domain is asked.
    ///
    /// Where they give different routes to what would be taken, the client has to send them apart, too. Fields are added that
    /// all recipients' rules add.
    package func evaluateAtEnd(_ facts: PolicyFacts) -> Outcome {
        guard facts.recipients.count > 1, rules.contains(where: \.asksForRecipient) else { return evaluate(facts) }
        var seen: [ContentPlace: PolicyAnswer] = [:]
        let outcomes = facts.recipients.map { recipient in
            var own = facts
            own.recipients = [recipient]
            return evaluate(own, &seen)
        }
        guard var outcome = outcomes.first else { return Outcome() }
        outcome.fields = outcome.fields.filter { field in outcomes.allSatisfy { $0.fields.contains(field) } }
        outcome.delay = outcomes.map(\.delay).max() ?? 0
        outcome.asksGreylist = outcomes.flatMap(\.asksGreylist)
        guard outcome.asksGreylist.isEmpty else { return outcome }
        let refusing = outcomes.filter { $0.action?.isRefusal == true }
        if refusing.isEmpty, !outcomes.allSatisfy({ $0.route == outcome.route }) {
            outcome.routeRule = outcomes.lazy.compactMap(\.routeRule).first
            outcome.rule = outcome.routeRule
            outcome.action = Self.apart
        } else if outcomes.allSatisfy({ $0.action == outcome.action }) {
            return outcome
        } else if let first = refusing.first {
            let isForAll = refusing.count == outcomes.count
            let chosen = isForAll ? refusing.first(where: { $0.action?.isDeferral == true }) ?? first : first
            outcome.rule = chosen.rule
            outcome.action = isForAll ? chosen.action : Self.apart
        } else if let held = outcomes.first(where: { $0.action == .hold }) {
            outcome.rule = held.rule
            outcome.action = .hold
        } else if let junk = outcomes.first(where: { $0.action == .junk }),
            outcomes.allSatisfy({ $0.action == .junk || $0.action == .discard })
        {
            outcome.rule = junk.rule
            outcome.action = .junk
        } else {
            outcome.rule = nil
            outcome.action = nil
        }
        return outcome
    }

    private static let apart = PolicyAction.defer(
        EnhancedStatusCode(4, 3, 0),
        "recipients need different handling, send to each of them separately"
    )

    /// Whether a rule's conditions hold; and where that can't be looked up, whether one that refuses is to put mail off.
    private func answer(
        _ rule: PolicyRule,
        _ place: Int,
        _ facts: PolicyFacts,
        score: Int,
        _ seen: inout [ContentPlace: PolicyAnswer]
    ) -> (answer: PolicyAnswer, defers: Bool) {
        var isOpen = false
        var isUnknown = false
        var defers = true
        for (number, condition) in rule.conditions.enumerated() {
            let content = condition.test.needsContent ? ContentPlace(rule: place, condition: number) : nil
            let answer = content.flatMap { seen[$0] } ?? condition.test.answer(facts, score: score)
            if let content, answer != .open { seen[content] = answer }
            switch condition.isNegated ? answer.negated : answer {
            case .yes: continue
            case .no: return (.no, false)
            case .open: isOpen = true
            case .unknown:
                isUnknown = true
                if !condition.isNegated || !condition.test.defersInTrouble { defers = false }
            }
        }
        if isOpen { return (.open, false) }
        return isUnknown ? (.unknown, defers) : (.yes, false)
    }
}
