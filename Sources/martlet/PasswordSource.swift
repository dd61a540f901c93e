import ArgumentParser

#if canImport(Glibc)
import Glibc
#endif

/// Where a password comes from.
struct PasswordSource: ParsableArguments {
    @Flag(help: "Make a password and print it.") var generate = false
    @Flag(help: "Read the password from the first line of standard input.") var passwordStdin = false

    func password() throws -> String {
        if generate { return Self.generated() }
        let isTerminal = isatty(STDIN_FILENO) == 1 && !passwordStdin
        let password = isTerminal ? getpass("Password: ").map { String(cString: $0) } : readLine()
        guard let password, !password.isEmpty else { throw ValidationError("no password was given") }
        if isTerminal, getpass("Again: ").map({ String(cString: $0) }) != password {
            throw ValidationError("the passwords differ")
        }
        return password
    }

    /// 20 characters that can't be taken for each other: about 100 bits.
    private static func generated() -> String {
        let alphabet = Array("abcdefghjkmnpqrstuvwxyz23456789")
        var generator = SystemRandomNumberGenerator()
        return String((0..<20).map { _ in alphabet[Int.random(in: 0..<alphabet.count, using: &generator)] })
    }
}
