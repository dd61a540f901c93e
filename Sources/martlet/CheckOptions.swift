import ArgumentParser
import MailAuth

#if canImport(Glibc)
import Glibc
#endif

/// What every command takes that checks what a message says of its origin.
struct CheckOptions: ParsableArguments {
    @Argument(help: "The message; - for standard input.") var file: String
    @Flag(help: "For programs: one JSON document.") var json = false
    @Option(help: ArgumentHelp("The time to check at, since 1970, else now.", valueName: "SECONDS")) var time: Int?
    @OptionGroup var source: LookupOptions

    func validate() throws { try TimeOption.check(time) }

    /// The time to check at, since 1970. Seconds.
    var now: Int { time ?? Glibc.time(nil) }

    /// The message with its hashes, and where DNS answers come from.
    func message() throws -> (HashedMessage, any MailAuthLookup) {
        let lookup = try source.lookup()
        var message = MessageFile(file)
        return (try message.hash(), lookup)
    }
}
