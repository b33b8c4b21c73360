// Obtains or revokes a certificate with node's acme-client. Settings come by the environment.
const fs = require('fs');
const path = require('path');
const acme = require('acme-client');

const { STATE, DIRECTORY, NAME, WEBROOT, EAB_KID, EAB_HMAC_KEY } = process.env;
const file = (name) => path.join(STATE, name);

async function main() {
    if (!fs.existsSync(file('account.pem'))) {
        fs.writeFileSync(file('account.pem'), await acme.crypto.createPrivateEcdsaKey());
    }
    const options = { directoryUrl: DIRECTORY, accountKey: fs.readFileSync(file('account.pem')) };
    if (EAB_KID) {
        options.externalAccountBinding = { kid: EAB_KID, hmacKey: EAB_HMAC_KEY };
    }
    const client = new acme.Client(options);
    if (process.argv[2] === 'revoke') {
        await client.createAccount({ onlyReturnExisting: true });
        await client.revokeCertificate(fs.readFileSync(file('chain.pem')));
        return;
    }
    const [, csr] = await acme.crypto.createCsr({ commonName: NAME, altNames: [NAME] });
    const chain = await client.auto({
        csr,
        email: 'admin@corp.test',
        termsOfServiceAgreed: true,
        skipChallengeVerification: true,
        challengePriority: ['http-01'],
        challengeCreateFn: async (authorization, challenge, content) => fs.writeFileSync(path.join(WEBROOT, challenge.token), content),
        challengeRemoveFn: async () => {},
    });
    fs.writeFileSync(file('chain.pem'), chain);
}

main().catch((error) => {
    console.error(error);
    process.exit(1);
});
