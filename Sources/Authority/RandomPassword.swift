/// Passwords that nobody has chosen.
package enum RandomPassword {
    /// Without those that can be taken for each other.
    private static let alphabet = Array("abcdefghjkmnpqrstuvwxyz23456789")

    /// A password of so many characters, each of nearly five bits.
    package static func make(_ count: Int) -> String {
        var generator = SystemRandomNumberGenerator()
        return String((0..<count).map { _ in alphabet[Int.random(in: alphabet.indices, using: &generator)] })
    }
}
