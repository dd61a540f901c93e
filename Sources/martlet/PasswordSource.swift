import ArgumentParser
import Authority

#if canImport(Glibc)
import Glibc
#endif

/// Where a password comes from.
struct PasswordSource: ParsableArguments {
    @Flag(help: "Make a password and print it.") var generate = false
    @Flag(help: "Read the password from the first line of standard input.") var passwordStdin = false

    func password() throws -> String {
        // About 100 bits.
        if generate { return RandomPassword.make(20) }
        let isTerminal = isatty(STDIN_FILENO) == 1 && !passwordStdin
        let password = isTerminal ? getpass("Password: ").map { String(cString: $0) } : readLine()
        guard let password, !password.isEmpty else { throw ValidationError("no password was given") }
        if isTerminal, getpass("Again: ").map({ String(cString: $0) }) != password {
            throw ValidationError("the passwords differ")
        }
        return password
    }
}
