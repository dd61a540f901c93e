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
        mechanisms = try Self.mechanisms(table)
        scram = try table.choice("scram", default: .auto)
    }

    /// The mechanisms that a table names; all where it names none.
    static func mechanisms(_ table: ConfigurationTable) throws(ConfigurationError) -> [SASLMechanismName] {
        var mechanisms: [SASLMechanismName] = []
        for name in try table.strings("mechanisms", default: SASLMechanismName.allCases.map(\.rawValue)) {
            guard let mechanism = SASLMechanismName(rawValue: name.uppercased()) else {
                let known = SASLMechanismName.allCases.map(\.rawValue).joined(separator: ", ")
                throw table.error("mechanisms", "\"\(name)\" is none of \(known)")
            }
            if !mechanisms.contains(mechanism) { mechanisms.append(mechanism) }
        }
        return mechanisms
    }
}
