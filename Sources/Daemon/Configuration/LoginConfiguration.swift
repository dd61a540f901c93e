import SASL

/// `[login]`: how users may show who they are, at every daemon that they log in to.
package struct LoginConfiguration: Sendable {
    /// When SCRAM is offered.
    package enum Scram: String, Sendable, CaseIterable {
        /// Once every account that can log in has a verifier.
        case auto
        case always
        case never
    }

    /// Those that are offered where what they need is there, the first one first.
    package var mechanisms: [SASLMechanismName]
    package var scram: Scram

    init(_ table: ConfigurationTable) throws(ConfigurationError) {
        var mechanisms: [SASLMechanismName] = []
        for name in try table.strings("mechanisms", default: SASLMechanismName.allCases.map(\.rawValue)) {
            guard let mechanism = SASLMechanismName(rawValue: name.uppercased()) else {
                let known = SASLMechanismName.allCases.map(\.rawValue).joined(separator: ", ")
                throw table.error("mechanisms", "\"\(name)\" is none of \(known)")
            }
            if !mechanisms.contains(mechanism) { mechanisms.append(mechanism) }
        }
        self.mechanisms = mechanisms
        scram = try table.choice("scram", default: .auto)
    }
}
