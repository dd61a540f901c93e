import SMTP

/// `etc/users` as it was read.
package struct AccountTable: Sendable {
    private var accounts: [AddressKey: Account] = [:]
    /// A hash of the kind that most accounts have: what an unknown user's password is compared with, at equal cost.
    package private(set) var typicalHash: String?

    package init() {}

    /// - Throws: `TableError` with every line that can't be understood, names an address again, or has a mailbox that another
    ///   account has to do with.
    package init(text: String, file: String) throws(TableError) {
        var schemes: [Substring: (count: Int, hash: String)] = [:]
        var places = MailboxPlaces()
        var faults = TableFaults(file: file)
        for (number, line) in TableLines(text) {
            let account: Account
            switch Account.parse(line) {
            case .success(let parsed): account = parsed
            case .failure(let fault):
                faults.add(line: number, reason: fault.reason)
                continue
            }
            guard accounts.updateValue(account, forKey: AddressKey(account.address)) == nil else {
                faults.add(line: number, reason: "\(account.address) is there already")
                continue
            }
            if let reason = places.add(account) { faults.add(line: number, reason: reason) }
            let scheme = account.hash.prefix { $0 != "," }.split(separator: "$").first ?? ""
            if PasswordHash.isKnown(account.hash) {
                schemes[scheme] = ((schemes[scheme]?.count ?? 0) + 1, account.hash)
            }
        }
        try faults.check()
        typicalHash = schemes.values.max { $0.count < $1.count }?.hash
    }

    /// All accounts, by address.
    package var all: [Account] { accounts.values.sorted { $0.address.description < $1.address.description } }

    /// All accounts, in no order.
    var unordered: some Collection<Account> { accounts.values }

    subscript(key: AddressKey) -> Account? { accounts[key] }

    /// The account with exactly this address, but for case.
    package subscript(address: MailAddress) -> Account? { accounts[AddressKey(address)] }

    /// Why a new account can't have the mailbox that it should have; nil where nothing is against it.
    func objection(to account: Account) -> String? {
        var places = MailboxPlaces()
        for known in accounts.values { _ = places.add(known) }
        return places.objection(to: account)
    }
}
