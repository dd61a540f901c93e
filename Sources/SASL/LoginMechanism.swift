/// LOGIN, which no RFC describes and many clients use: the server asks for the user name and then for the password.
package struct LoginMechanism: SASLMechanism {
    /// Once it is known.
    private var user: String?

    package init() {}

    package var firstChallenge: [UInt8] { Array("Username:".utf8) }

    package mutating func respond(to response: [UInt8]) -> SASLStep {
        guard let text = SASLText.name(response) else { return .malformed }
        guard let user else {
            user = text
            return .challenge(Array("Password:".utf8))
        }
        return .evidence(.password(PasswordCredentials(user: user, password: text)))
    }
}
