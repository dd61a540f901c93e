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
        /// A rule that can't be judged before more is known: those below it weren't looked at.
        package var isOpen = false

        /// Nothing is said.
        package init() {}
    }

    package init(_ rules: [PolicyRule] = []) { self.rules = rules }

    /// Whether the DNS has to be asked about clients.
    package var needsConnection: Bool {
        rules.contains { $0.conditions.contains { $0.test.needsConnection } }
    }

    /// Goes through the rules. One whose conditions aren't all known ends it, unless one of the others fails already.
    package func evaluate(_ facts: PolicyFacts) -> Outcome {
        var outcome = Outcome()
        for rule in rules {
            switch holds(rule, facts, score: outcome.score) {
            case false: continue
            case nil:
                outcome.isOpen = true
                return outcome
            default: break
            }
            switch rule.action {
            case .addField(let field): outcome.fields.append(field)
            case .score(let points):
                let (sum, isTooLarge) = outcome.score.addingReportingOverflow(points)
                outcome.score = isTooLarge ? outcome.score : sum
            case .accept, .reject, .defer, .junk, .discard:
                outcome.rule = rule
                outcome.action = rule.action
                return outcome
            }
        }
        return outcome
    }

    private func holds(_ rule: PolicyRule, _ facts: PolicyFacts, score: Int) -> Bool? {
        var isKnown = true
        for condition in rule.conditions {
            guard let holds = condition.test.holds(facts, score: score) else {
                isKnown = false
                continue
            }
            if holds == condition.isNegated { return false }
        }
        return isKnown ? true : nil
    }
}
