import Accounts
import Bus

/// `newaliases`, `sendmail -bi`: there is nothing to be made, for authd reads the table by itself. It says whether authd uses it as it
/// is.
enum AliasReport {
    /// - Throws: `Failure` with EX_CONFIG where a table isn't in use, EX_TEMPFAIL where authd doesn't say.
    static func run() async throws {
        let state: DirectoryWatch.State?
        do {
            state = try await DirectoryWatch.ask("run/auth.sock")
        } catch BusError.timedOut {
            throw Failure(.temporary, "authd does not answer: whether it uses the aliases is not known")
        } catch {
            throw Failure(.temporary, "authd cannot be asked, it reads the aliases when it starts: \(error)")
        }
        // Others than root aren't told.
        guard let state else { return print("authd reads the aliases by itself") }
        guard state.troubles.isEmpty else {
            throw Failure(.configuration, "not in use: \(state.troubles.joined(separator: "; "))")
        }
        print("authd uses the aliases as they are")
    }
}
